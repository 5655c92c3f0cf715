"""What ``llama_grammar`` is made of: JSON schemas as grammars, and grammars that come along."""
