"""Lies about a GGUF file: one changed metadata value or one changed field of a tensor each."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from llama_cpp.gguf.header import read_layout
from llama_cpp.gguf.layout import SCALAR_FORMATS, TENSOR_TYPES, Pair, TensorEntry

_STRING, _ARRAY, _F32 = 8, 9, 6
_WORDS = ("", "bert", "gpt2", "t5", "rwkv", "no_vocab", "llama", "mamba", "gemma3", "x" * 300)
_ODD_FLOATS = (0.0, -1.0, 1e-38, 1e38, float("inf"), float("nan"))
_SHARE_OF_ITEMS = 7


class Lie(NamedTuple):
    """A piece of the header in place of another.

    Attributes:
        name: What it is about, and how it lies.
        start: Where the piece starts in the file.
        stop: Where it stops.
        piece: What stands there instead.
        pairs: How many metadata pairs it adds or takes away.
        data: How many bytes of tensors the file has to have, at least.
    """

    name: str
    start: int
    stop: int
    piece: bytes
    pairs: int = 0
    data: int = 0


class Liar:
    """Makes files of one that is true, with lies in their headers."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        _, self._layout = read_layout(path)
        self.lies = list(dict.fromkeys((*self._about_pairs(), *self._about_tensors())))

    def write(self, target: Path, *lies: Lie) -> None:
        """Write the file with lies about different things."""
        head, at, count = bytearray(), 0, len(self._layout.pairs)
        for lie in sorted(lies, key=lambda each: each.start):
            head += self._content[at : lie.start] + lie.piece
            at, count = lie.stop, count + lie.pairs
        head += self._content[at : self._end_of_header]
        head[16:24] = struct.pack("=q", count)
        with target.open("wb") as file:
            file.write(head)
            file.write(bytes(-len(head) % 32))
            data_start = file.tell()
            file.write(memoryview(self._content)[self._layout.data_start :])
            file.truncate(max(file.tell(), data_start + max(lie.data for lie in lies)))

    @property
    def _end_of_header(self) -> int:
        return max(tensor.stop for tensor in self._layout.tensors)

    def _about_pairs(self) -> Iterator[Lie]:
        for pair in self._layout.pairs:
            name = pair.key.decode("utf-8", "replace")
            yield Lie(f"{name} missing", pair.start, pair.stop, b"", -1)
            for what, kind, value in self._other_values(pair):
                piece = struct.pack("=i", kind) + value
                yield Lie(f"{name} {what}", pair.value - 4, pair.stop, piece)

    def _other_values(self, pair: Pair) -> Iterator[tuple[str, int, bytes]]:
        value = self._content[pair.value : pair.stop]
        if pair.kind == _STRING:
            for word in _WORDS:
                yield f"= {word[:20]!r}", _STRING, _text(word.encode())
            yield "= bytes", _STRING, _text(b"\xff\xfe\x00\x80")
            yield "= 1", 4, struct.pack("=I", 1)
        elif pair.kind == _ARRAY:
            yield from _other_arrays(value)
        else:
            yield from _other_numbers(pair.kind, value)

    def _about_tensors(self) -> Iterator[Lie]:
        tensors = self._layout.tensors
        for index, tensor in enumerate(tensors):
            for what, piece in _other_entries(tensor, tensors[index - 1]):
                name = f"{tensor.name.decode('utf-8', 'replace')} {what}"
                yield Lie(name, tensor.start, tensor.stop, piece)
            for what, changed in _other_sizes(tensor):
                yield self._laid_out(
                    index, f"{tensor.name.decode('utf-8', 'replace')} {what}", changed
                )

    def _laid_out(self, index: int, name: str, changed: TensorEntry) -> Lie:
        """Tell of another size, where what comes after makes room: only its meaning lies."""
        tensors, offset, piece = list(self._layout.tensors), 0, b""
        tensors[index] = changed
        for tensor in tensors:
            kind = TENSOR_TYPES[tensor.type_id]
            piece += _entry(tensor, offset=offset)
            n_bytes = _product(tensor.shape) // kind.block_elements * kind.block_bytes
            offset += -(-n_bytes // 32) * 32
        first, last = self._layout.tensors[0], self._layout.tensors[-1]
        return Lie(name, first.start, last.stop, piece, data=offset)


def _other_numbers(kind: int, value: bytes) -> Iterator[tuple[str, int, bytes]]:
    layout = "=" + SCALAR_FORMATS[kind]
    (number,) = struct.unpack(layout, value)
    if layout in ("=f", "=d"):
        others: tuple[float, ...] = (*_ODD_FLOATS, number * 1000)
    elif layout == "=?":
        others = (not number,)
    else:
        bits = 8 * len(value)
        largest = 2 ** (bits - layout.islower()) - 1
        others = (0, 1, 3, number + 1, number - 1, 2 * number, 1 << (bits - 2), largest)
    for other in dict.fromkeys(others):
        try:
            yield f"= {other}", kind, struct.pack(layout, other)
        except (struct.error, OverflowError):
            continue
    yield "= text", _STRING, _text(b"7")
    yield "= list", _ARRAY, struct.pack("=iQ", kind, 3) + 3 * value


def _other_arrays(value: bytes) -> Iterator[tuple[str, int, bytes]]:
    kind, length = struct.unpack_from("=iQ", value)
    items = list(_items(kind, length, value))
    variants: dict[str, list[bytes]] = {
        "emptied": [], "halved": items[: length // 2], "one longer": [*items, *items[:1]],
        "one shorter": items[:-1], "all the same": items[:1] * length,
        "backwards": items[::-1],
    }  # fmt: skip
    replaced = [_text(b""), _text(b"\xff"), _text(b" " * 500)] if kind == _STRING else [
        bytes(len(items[0])), b"\xff" * len(items[0]), b"\x7f" * len(items[0]),
    ] if items else []  # fmt: skip
    for number, item in enumerate(replaced):
        variants[f"filled with {number}"] = [item] * length
        variants[f"in part {number}"] = [
            item if index % _SHARE_OF_ITEMS == 0 else each for index, each in enumerate(items)
        ]
    for what, those in variants.items():
        yield what, _ARRAY, struct.pack("=iQ", kind, len(those)) + b"".join(those)
    yield "as number", 4, struct.pack("=I", 3)
    yield "of numbers", _ARRAY, struct.pack("=iQ", 5, length) + struct.pack("=i", 1) * length
    yield "of floats", _ARRAY, struct.pack("=iQ", _F32, length) + struct.pack("=f", 1) * length


def _items(kind: int, length: int, value: bytes) -> Iterator[bytes]:
    at = 12
    for _ in range(length):
        if kind == _STRING:
            size = 8 + struct.unpack_from("=Q", value, at)[0]
        else:
            size = struct.calcsize("=" + SCALAR_FORMATS[kind])
        yield value[at : at + size]
        at += size


def _other_entries(tensor: TensorEntry, other: TensorEntry) -> Iterator[tuple[str, bytes]]:
    yield "renamed", _entry(tensor, name=b"x" + tensor.name)
    yield f"named {other.name.decode('utf-8', 'replace')}", _entry(tensor, name=other.name)
    yield "without dimensions", _entry(tensor, shape=())
    yield "of four dimensions", _entry(tensor, shape=(*tensor.shape, 1, 1, 1)[:4])
    yield "transposed", _entry(tensor, shape=tensor.shape[::-1])
    yield "flat", _entry(tensor, shape=(_product(tensor.shape),))
    for index in range(len(tensor.shape)):
        for length in (0, 2**40, -1):
            shape = tuple(length if i == index else n for i, n in enumerate(tensor.shape))
            yield f"dimension {index} = {length}", _entry(tensor, shape=shape)
    for type_id in (4, 99, -1):
        yield f"type {type_id}", _entry(tensor, type_id=type_id)
    for offset in (0, 1, tensor.offset + 32, 2**40, 2**64 - 32):
        yield f"offset {offset}", _entry(tensor, offset=offset)


def _other_sizes(tensor: TensorEntry) -> Iterator[tuple[str, TensorEntry]]:
    for index, old in enumerate(tensor.shape):
        for length in (1, 32, old // 2, old + 256):
            shape = tuple(length if i == index else n for i, n in enumerate(tensor.shape))
            if shape[0] % TENSOR_TYPES[tensor.type_id].block_elements == 0:
                yield f"dimension {index} = {length}", tensor._replace(shape=shape)
    for type_id, kind in TENSOR_TYPES.items():
        if type_id != tensor.type_id and tensor.shape[0] % kind.block_elements == 0:
            yield f"type {type_id}", tensor._replace(type_id=type_id)


def _entry(tensor: TensorEntry, **changed: object) -> bytes:
    name, shape, type_id, offset = (
        changed.get(field, getattr(tensor, field))
        for field in ("name", "shape", "type_id", "offset")
    )
    assert isinstance(name, bytes)
    assert isinstance(shape, tuple)
    return _text(name) + struct.pack(f"=I{len(shape)}qiQ", len(shape), *shape, type_id, offset)


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product


def _text(raw: bytes) -> bytes:
    return struct.pack("=Q", len(raw)) + raw


def drawn(liar: Liar, count: int, seed: int) -> list[tuple[Lie, ...]]:
    """Draw lies: half of them alone, half in pairs about different things."""
    draw = random.Random(seed)
    singles = [(lie,) for lie in draw.sample(liar.lies, min(len(liar.lies), count // 2))]
    pairs: list[tuple[Lie, ...]] = []
    while len(singles) + len(pairs) < count:
        first, second = sorted(draw.sample(liar.lies, 2), key=lambda lie: lie.start)
        if first.stop <= second.start:
            pairs.append((first, second))
    return singles + pairs
