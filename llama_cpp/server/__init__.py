"""A server that speaks OpenAI's wire format: ``python -m llama_cpp.server --model model.gguf``."""
