"""GGUF files: what is in them, and one file as several or several as one. Nothing is loaded."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import InvalidArgumentError, ModelLoadError
from ..validation.numbers import integer
from .header import GGUFHeader, read_layout
from .layout import SCALAR_FORMATS, TENSOR_TYPES, Layout, Pair
from .output_file import Path, check_targets, path_text, staged
from .writing import Draft, Source, changed, chunks, opened, padded_bytes, scalar_pair

__all__ = ["GGUFFile", "MetadataValue", "Tensor", "merge", "read", "shard_name", "split"]

MetadataValue = bool | int | float | str | list[bool] | list[int] | list[float] | list[str]

_SHARD = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5,})-of-(?P<count>\d{5,})\.gguf", re.DOTALL)
_SHARDS_MAX = 2**16 - 1
_SIZE = re.compile(r"(\d+)([KMG])")
_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}
_STRING, _ARRAY = 8, 9
_ALIGNMENT = b"general.alignment"
_SPLIT_NO, _SPLIT_COUNT, _SPLIT_TENSORS = b"split.no", b"split.count", b"split.tensors.count"
_SPLIT_KEYS = (_SPLIT_NO, _SPLIT_COUNT, _SPLIT_TENSORS)


class Tensor(NamedTuple):
    """A tensor of a GGUF file.

    Attributes:
        name: Its name.
        shape: The lengths of its dimensions, in llama.cpp's order: that of a row first.
        type: The name of its type, such as ``"F16"`` or ``"Q4_K"``.
        n_bytes: Its size.
        path: The file that its data is in.
        offset: Where in that file.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    n_bytes: int
    path: str
    offset: int

    def read(self) -> bytes:
        """Read the data.

        Raises:
            ModelLoadError: The file cannot be read, or has been changed.
        """
        return b"".join(chunks(self.path, self.offset, self.n_bytes))


@dataclass(frozen=True)
class GGUFFile:
    """What a GGUF file holds, or the files of a split model.

    Attributes:
        paths: The file, or those of a split model in their order.
        version: The GGUF version.
        alignment: To how many bytes the data of each tensor is aligned.
        metadata: The metadata. Bytes that are not UTF-8 are replaced. Without the ``split.*`` keys
            of a split model, which tell how it is split.
        tensors: The tensors, in their order.
        file_bytes: The size of all files.
    """

    paths: tuple[str, ...]
    version: int
    alignment: int
    metadata: dict[str, MetadataValue]
    tensors: tuple[Tensor, ...]
    file_bytes: int

    @property
    def architecture(self) -> str | None:
        """``general.architecture``."""
        value = self.metadata.get("general.architecture")
        return value if isinstance(value, str) else None

    @property
    def tensor_bytes(self) -> int:
        """The size of all tensors."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def n_params(self) -> int:
        """The elements of all tensors."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)


def read(path: Path) -> GGUFFile:
    """Read what a GGUF file holds, without the data of its tensors.

    Args:
        path: The file; of a split model, its first file, which the others are beside.

    Returns:
        The metadata and the tensors, of all files of a split model.

    Raises:
        ModelLoadError: One of its subclasses says what is wrong with which file.
        TextError: The path is none.
    """
    shards = _read_shards(path_text(path, "path"))
    first = shards[0]
    with opened(first.path) as file:
        head = file.read(first.layout.data_start)
    dropped = _SPLIT_KEYS if len(shards) > 1 else ()
    try:
        metadata = {
            pair.key.decode(errors="replace"): _value(head, pair)
            for pair in first.layout.pairs
            if pair.key not in dropped
        }
    except (struct.error, KeyError, MemoryError) as error:
        raise changed(first.path) from error
    return GGUFFile(
        paths=tuple(shard.path for shard in shards),
        version=first.header.version,
        alignment=first.header.alignment,
        metadata=metadata,
        tensors=tuple(
            Tensor(
                name=entry.name.decode(errors="replace"),
                shape=entry.shape,
                type=TENSOR_TYPES[entry.type_id].name,
                n_bytes=entry.n_bytes,
                path=shard.path,
                offset=shard.layout.data_start + entry.offset,
            )
            for shard in shards
            for entry in shard.layout.tensors
        ),
        file_bytes=sum(shard.layout.size for shard in shards),
    )


def shard_name(prefix: str, index: int, count: int) -> str:
    """Return how llama.cpp calls a file of a split model.

    Args:
        prefix: What the names of all its files begin with.
        index: Which file, from 0 on.
        count: How many there are.
    """
    return f"{prefix}-{index + 1:05d}-of-{count:05d}.gguf"


def split(
    src: Path,
    dst: Path,
    *,
    max_tensors: int | None = None,
    max_size: int | str | None = None,
    tensors_in_first: bool = True,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Split a model into several files, as llama.cpp's ``gguf-split`` does.

    Args:
        src: The model; of a split model, its first file.
        dst: What the names of the files begin with, ``.gguf`` at the end does not count:
            ``model.gguf`` makes ``model-00001-of-00003.gguf`` and so on.
        max_tensors: How many tensors a file may hold; 128 unless ``max_size`` is given.
        max_size: How many bytes the tensors of a file may have, as a number or like ``"500M"`` or
            ``"2G"``, which are powers of 1000. A larger tensor has a file for itself.
        tensors_in_first: Whether the first file holds tensors too, and not only the metadata.
        overwrite: Whether files that are there already are replaced.

    Returns:
        The files, in their order. Load the model by the first.

    Raises:
        ModelLoadError: One of its subclasses says what is wrong with ``src``.
        InvalidArgumentError: Both limits are given, or one is no limit; or more than 65,535 files
            would be needed.
        QuantizeError: The files cannot be written. None is left behind.
    """
    shards = _read_shards(path_text(src, "src"))
    prefix = path_text(dst, "dst").removesuffix(".gguf")
    first = shards[0].header
    tensors = _sources(shards)
    groups = _groups(tensors, first.alignment, max_tensors, max_size)
    if not tensors_in_first:
        groups.insert(0, [])
    count = len(groups)
    if count > _SHARDS_MAX:
        raise InvalidArgumentError(f"{count} files are more than {_SHARDS_MAX}: raise the limit")
    pairs = _raw_pairs(shards[0])
    drafts = []
    for index, group in enumerate(groups):
        kept = [raw for key, raw in pairs if index == 0 or key == _ALIGNMENT]
        marks = [
            scalar_pair(_SPLIT_NO, 2, index),
            scalar_pair(_SPLIT_COUNT, 2, count),
            scalar_pair(_SPLIT_TENSORS, 5, len(tensors)),
        ]
        drafts.append(Draft(first.version, first.alignment, [*kept, *marks], group))
    targets = [shard_name(prefix, index, count) for index in range(count)]
    _write(drafts, targets, shards, overwrite=overwrite)
    return tuple(targets)


def merge(src: Path, dst: Path, *, overwrite: bool = False) -> str:
    """Make one file of a split model.

    Args:
        src: The first of its files, which the others are beside. They stay.
        dst: The file to write.
        overwrite: Whether a file that is there already is replaced.

    Returns:
        The path of the file.

    Raises:
        ModelLoadError: One of its subclasses says what is wrong with which file.
        InvalidArgumentError: The model is not split.
        QuantizeError: The file cannot be written. Nothing is left behind.
    """
    path, target = path_text(src, "src"), path_text(dst, "dst")
    shards = _read_shards(path)
    first = shards[0].header
    if not first.split_count:
        raise InvalidArgumentError(f"{path!r} is not split: there is nothing to merge")
    tensors = _sources(shards)
    pairs = [raw for _, raw in _raw_pairs(shards[0])]
    draft = Draft(first.version, first.alignment, pairs, tensors)
    _write([draft], [target], shards, overwrite=overwrite)
    return target


class _Shard(NamedTuple):
    path: str
    header: GGUFHeader
    layout: Layout


def _read_shards(path: str) -> list[_Shard]:
    first = _Shard(path, *read_layout(path))
    count = first.header.split_count
    if count < 2:
        return [first]
    named = _SHARD.fullmatch(path)
    if first.header.metadata.get("split.no", 0) != 0:
        hint = f": {shard_name(named['prefix'], 0, count)!r}" if named else ""
        raise ModelLoadError(f"{path!r} is not the first file of a split model. Pass that{hint}.")
    if named is None or (int(named["number"]), int(named["count"])) != (1, count):
        raise ModelLoadError(
            f"{path!r} is the first of {count} files. Name it like "
            f"{shard_name('model', 0, count)!r}, and the others likewise, to have them found."
        )
    shards = [first]
    names = {entry.name for entry in first.layout.tensors}
    for index in range(1, count):
        other = shard_name(named["prefix"], index, count)
        shard = _Shard(other, *read_layout(other))
        if shard.header.metadata.get("split.no") != index:
            raise ModelLoadError(f"{other!r} is not file {index + 1} of {path!r}. Get it again.")
        for entry in shard.layout.tensors:
            if entry.name in names:
                raise ModelLoadError(f"{other!r} has the tensor {entry.name!r} for a second time.")
            names.add(entry.name)
        shards.append(shard)
    promised = first.header.metadata.get("split.tensors.count", len(names))
    if promised != len(names):
        raise ModelLoadError(
            f"{path!r} promises {promised} tensors, but there are {len(names)}. Get it again."
        )
    return shards


def _value(head: bytes, pair: Pair) -> Any:
    if pair.kind == _STRING:
        return _text(head, pair.value)[0]
    if pair.kind != _ARRAY:
        return struct.unpack_from("=" + SCALAR_FORMATS[pair.kind], head, pair.value)[0]
    kind, length = struct.unpack_from("=iQ", head, pair.value)
    position = pair.value + 12
    if kind != _STRING:
        return list(struct.unpack_from(f"={length}{SCALAR_FORMATS[kind]}", head, position))
    texts = []
    for _ in range(length):
        text, position = _text(head, position)
        texts.append(text)
    return texts


def _text(head: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("=Q", head, position)
    stop = position + 8 + length
    return head[position + 8 : stop].decode(errors="replace"), stop


def _write(
    drafts: Sequence[Draft], targets: Sequence[str], sources: Sequence[_Shard], *, overwrite: bool
) -> None:
    needed = sum(draft.size() for draft in drafts)
    check_targets(targets, [shard.path for shard in sources], needed, overwrite=overwrite)
    with staged(targets) as paths:
        for draft, path in zip(drafts, paths, strict=True):
            draft.write(path)


def _raw_pairs(shard: _Shard) -> list[tuple[bytes, bytes]]:
    """Return the keys and the pairs of a file, but for those that tell how it is split."""
    with opened(shard.path) as file:
        head = file.read(shard.layout.data_start)
    return [
        (pair.key, head[pair.start : pair.stop])
        for pair in shard.layout.pairs
        if pair.key not in _SPLIT_KEYS
    ]


def _groups(
    tensors: Sequence[Source],
    alignment: int,
    max_tensors: int | None,
    max_size: int | str | None,
) -> list[list[Source]]:
    if max_tensors is not None and max_size is not None:
        raise InvalidArgumentError("give max_tensors or max_size, not both")
    tensors_max = len(tensors) or 1
    bytes_max = None
    if max_size is None:
        tensors_max = integer("max_tensors", 128 if max_tensors is None else max_tensors, 1, 2**31)
    else:
        bytes_max = _size(max_size)
    groups: list[list[Source]] = [[]]
    in_group = 0
    for tensor in tensors:
        group, padded = groups[-1], padded_bytes([tensor], alignment)
        too_large = bytes_max is not None and in_group + padded > bytes_max
        if group and (too_large or len(group) >= tensors_max):
            group, in_group = [], 0
            groups.append(group)
        group.append(tensor)
        in_group += padded
    return groups


def _size(size: int | str) -> int:
    match = _SIZE.fullmatch(size.upper()) if isinstance(size, str) else None
    if match:
        return integer("max_size", int(match[1]) * _UNITS[match[2]], 1, 2**63)
    if isinstance(size, str):
        raise InvalidArgumentError(f'max_size={size!r} must be bytes, or like "500M" or "2G"')
    return integer("max_size", size, 1, 2**63)


def _sources(shards: Sequence[_Shard]) -> list[Source]:
    return [
        Source.of(shard.path, shard.layout.data_start, entry)
        for shard in shards
        for entry in shard.layout.tensors
    ]
