"""Completions: from the parameters of a call to requests, and results in OpenAI's shapes."""
