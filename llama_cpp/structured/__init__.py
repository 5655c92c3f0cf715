"""What replies mean: from Python types to JSON schemas, and from JSON back to objects."""

from .partial import NOTHING, PartialJSON, partial_json
from .shape import Shape, TypeOrSchema
from .streams import AsyncChunkStream, ChunkStream

__all__ = [
    "NOTHING",
    "AsyncChunkStream",
    "ChunkStream",
    "PartialJSON",
    "Shape",
    "TypeOrSchema",
    "partial_json",
]
