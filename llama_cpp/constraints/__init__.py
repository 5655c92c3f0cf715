"""What generated text is allowed to be: grammars in GBNF, JSON schemas as grammars."""
