"""How the next token is chosen: parameters, the native chain made of them, hooks in Python."""
