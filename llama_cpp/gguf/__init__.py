"""GGUF files: what is in them, splitting, merging and quantizing them. Nothing is loaded."""

from __future__ import annotations

from .files import GGUFFile, MetadataValue, Tensor, merge, read, shard_name, split

__all__ = ["GGUFFile", "MetadataValue", "Tensor", "merge", "read", "shard_name", "split"]
