"""Draft models: llama-cpp-python's names for :mod:`llama_cpp.engine.speculative`."""

from __future__ import annotations

from .engine.speculative.prompt_lookup import LlamaDraftModel, LlamaPromptLookupDecoding

__all__ = ["LlamaDraftModel", "LlamaPromptLookupDecoding"]
