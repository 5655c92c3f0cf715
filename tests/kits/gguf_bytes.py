"""Builds GGUF files byte by byte, wrong ones too."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

Save = Callable[[bytes], Path]

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
TENSOR_F32, TENSOR_Q4_0 = 0, 2


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("=Q", len(raw)) + raw


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("=i", kind) + value


def array(key: str, kind: int, length: int, items: bytes) -> bytes:
    return pair(key, ARRAY, struct.pack("=iQ", kind, length) + items)


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def tensor(
    name: str | bytes = "t",
    dims: tuple[int, ...] = (4,),
    kind: int = TENSOR_F32,
    offset: int = 0,
    dim_count: int | None = None,
) -> bytes:
    count = len(dims) if dim_count is None else dim_count
    return text(name) + struct.pack(f"=I{len(dims)}qiQ", count, *dims, kind, offset)


def gguf(
    *pairs: bytes,
    tensors: tuple[bytes, ...] = (),
    data: int = 0,
    version: int = 3,
    alignment: int = 32,
    counts: tuple[int, int] | None = None,
) -> bytes:
    counted = struct.pack("=qq", *(counts or (len(tensors), len(pairs))))
    header = b"GGUF" + u32(version) + counted + b"".join(pairs) + b"".join(tensors)
    padding = bytes(-len(header) % alignment) if tensors else b""
    return header + padding + bytes(data)


SMALL = gguf(
    pair("general.architecture", STRING, text("llama")),
    pair("general.type", STRING, text("model")),
    pair("general.alignment", U32, u32(64)),
    pair("split.count", U16, struct.pack("=H", 3)),
    array("tokenizer.ggml.tokens", STRING, 3, text("a") + text("") + text("ccc")),
    array("tokenizer.ggml.scores", F32, 3, struct.pack("=3f", 1, 2, 3)),
    tensors=(tensor("a", (3, 2)), tensor("b", (32, 2), TENSOR_Q4_0, offset=64)),
    data=64 + 36,
    alignment=64,
)
