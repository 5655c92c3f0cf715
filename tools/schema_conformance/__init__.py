"""How much of JSON Schema is enforced: the official test suite, token by token."""
