"""Routes of llama-server and of llama-cpp-python: tokens, health, metrics, slots."""
