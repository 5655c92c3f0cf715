"""What keeps scripts for llama-cpp-python running and nobody else needs."""
