"""Chat formats: other ways from messages to prompts than the model's own template."""
