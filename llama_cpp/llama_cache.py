"""Caches of a model's states: llama-cpp-python's names for :mod:`llama_cpp.cache`."""

from __future__ import annotations

from .cache.base import BaseLlamaCache
from .cache.disk import LlamaDiskCache
from .cache.ram import LlamaCache, LlamaRAMCache, LlamaTrieCache
from .cache.state import LlamaState
from .llama_types import *

__all__ = [
    "BaseLlamaCache",
    "LlamaCache",
    "LlamaDiskCache",
    "LlamaRAMCache",
    "LlamaState",
    "LlamaTrieCache",
]
