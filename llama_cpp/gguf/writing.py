"""GGUF files in the making, from pieces of others."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from ..errors import ModelLoadError
from .layout import SCALAR_FORMATS, TensorEntry

_COPY_BYTES = 1 << 22


def opened(path: str) -> BinaryIO:
    """Open a file that was there a moment ago."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise ModelLoadError(f"{path!r} cannot be read: {error.strerror or error}.") from error


def changed(path: str) -> ModelLoadError:
    """Make the error of a file that is not what it was."""
    return ModelLoadError(f"{path!r} was changed while it was read. Try again.")


def chunks(path: str, start: int, n_bytes: int) -> Iterator[bytes]:
    """Read a part of a file, piece by piece."""
    with opened(path) as file:
        try:
            file.seek(start)
            while n_bytes:
                chunk = file.read(min(n_bytes, _COPY_BYTES))
                if not chunk:
                    raise changed(path)
                n_bytes -= len(chunk)
                yield chunk
        except OSError as error:
            raise ModelLoadError(f"{path!r} cannot be read: {error.strerror or error}.") from error


class Source(NamedTuple):
    """A tensor to be copied; ``entry`` is what the header says before the offset."""

    entry: bytes
    n_bytes: int
    path: str
    offset: int

    @classmethod
    def of(cls, path: str, data_start: int, tensor: TensorEntry) -> Source:
        """Copy a tensor of that file."""
        entry = b"".join(
            (
                struct.pack("=Q", len(tensor.name)),
                tensor.name,
                struct.pack(f"=I{len(tensor.shape)}q", len(tensor.shape), *tensor.shape),
                struct.pack("=i", tensor.type_id),
            )
        )
        return cls(entry, tensor.n_bytes, path, data_start + tensor.offset)


class Draft(NamedTuple):
    """A file to be written."""

    version: int
    alignment: int
    pairs: list[bytes]
    tensors: list[Source]

    def header(self) -> bytes:
        """Make what stands before the data."""
        parts = [b"GGUF", struct.pack("=Iqq", self.version, len(self.tensors), len(self.pairs))]
        parts += self.pairs
        offset = 0
        for tensor in self.tensors:
            parts += (tensor.entry, struct.pack("=Q", offset))
            offset += tensor.n_bytes + -tensor.n_bytes % self.alignment
        header = b"".join(parts)
        return header + bytes(-len(header) % self.alignment)

    def size(self) -> int:
        """Return how large the file will be."""
        return len(self.header()) + padded_bytes(self.tensors, self.alignment)

    def write(self, path: str) -> None:
        """Write it to a new file."""
        with open(path, "xb") as file:
            file.write(self.header())
            for tensor in self.tensors:
                for chunk in chunks(tensor.path, tensor.offset, tensor.n_bytes):
                    file.write(chunk)
                file.write(bytes(-tensor.n_bytes % self.alignment))


def padded_bytes(tensors: Sequence[Source], alignment: int) -> int:
    """Return what the data of tensors takes in a file."""
    return sum(tensor.n_bytes + -tensor.n_bytes % alignment for tensor in tensors)


def scalar_pair(key: bytes, kind: int, value: int) -> bytes:
    """Make a metadata pair of a number."""
    layout = SCALAR_FORMATS[kind]
    return struct.pack(f"=Q{len(key)}si{layout}", len(key), key, kind, value)
