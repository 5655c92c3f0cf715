"""Speculative decoding: guesses of the next tokens, which one decode of the model checks."""
