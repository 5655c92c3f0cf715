"""Reads the header of a GGUF file before the native loader sees it.

The native parser reports every failure as NULL and has had integer overflows (CVE-2025-53630,
CVE-2026-27940). This one applies the rules of ``ggml/src/gguf.cpp`` of the pinned llama.cpp with
unbounded integers, and compares every count and length with what is left of the file before it
uses it. It never reads tensor data.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from struct import Struct
from typing import Any, NamedTuple

from .. import errors
from .flaws import tensor_flaws
from .foreign import foreign_format
from .layout import SCALAR_FORMATS, TENSOR_TYPES, Layout, Pair, TensorEntry
from .reader import U64, FileReader, checked_path, open_file

__all__ = ["GGUFHeader", "MetadataValue", "read_header", "read_layout"]

MetadataValue = int | float | bool | str

_MAGIC = b"GGUF"
_SUPPORTED_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_TOKENS = "tokenizer.ggml.tokens"
_POSITIONS = (b"position_embd.weight", b"v.position_embd.weight")
_MAX_ARRAY_ELEMENTS = 1 << 30
_MAX_DIMS, _MAX_TENSOR_NAME = 4, 63  # GGML_MAX_DIMS, and GGML_MAX_NAME less the NUL
_MAX_ELEMENTS = (1 << 63) - 1
_SMALLEST_PAIR = 8 + 1 + 4 + 1  # a key of one byte with a value of one byte
_SMALLEST_TENSOR = 8 + 0 + 4 + 4 + 8  # no name and no dimensions

# The engine reads files in the byte order of the machine, hence "=" and not "<".
_U32, _I32, _I64 = Struct("=I"), Struct("=i"), Struct("=q")
_COUNTS, _ARRAY_HEAD = Struct("=qq"), Struct("=iQ")
_STRING, _ARRAY = 8, 9
# fmt: off
_SCALARS = {kind: Struct(f"={layout}") for kind, layout in SCALAR_FORMATS.items()}
# The engine insists on these types, for some of them (LoRA adapters, the further files of a split
# model) with an assertion that ends the process.
_REQUIRED_KINDS = {
    b"general.alignment": 4, b"general.architecture": _STRING, b"general.type": _STRING,
    b"adapter.type": _STRING, b"adapter.lora.alpha": 6, b"split.count": 2, b"split.no": 2,
}
_REQUIRED_KIND_NAMES = {2: "u16", 4: "u32", 6: "f32", _STRING: "string"}
# fmt: on


class GGUFHeader(NamedTuple):
    """What the header of a GGUF file says.

    Attributes:
        version: The GGUF version.
        tensor_count: How many tensors the file holds; 0 for a file with only a vocabulary.
        metadata_count: How many metadata pairs the file holds.
        architecture: ``general.architecture``.
        file_type: ``general.type``, such as "model", "adapter" or "mmproj".
        split_count: ``split.count``: of how many files the model consists; 0 if it is not split.
        alignment: To how many bytes the tensor data is aligned.
        metadata: The scalars and strings. Bytes that are not UTF-8 are replaced.
        kinds: The type of each pair, by its number in GGUF.
        array_lengths: The length of each array; what is in them is not kept.
        learned_positions: How many positions the model has embeddings for, if it learned any; the
            engine aborts on a token behind them.
        flaws: What is wrong with tensors that the engine would end the process on.
        has_scores: Whether there is a head that makes scores of a hidden state, as classifiers and
            rerankers have. Of a split model, whose head may be in another file, True.
    """

    version: int
    tensor_count: int
    metadata_count: int
    architecture: str | None
    file_type: str | None
    split_count: int
    alignment: int
    metadata: dict[str, MetadataValue]
    kinds: dict[str, int]
    array_lengths: dict[str, int]
    learned_positions: int | None = None
    flaws: tuple[str, ...] = ()
    has_scores: bool = False


def read_header(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> GGUFHeader:
    """Reads and checks the header of a GGUF file.

    Args:
        path: The file. ``~`` is not expanded.

    Returns:
        The header. The file is as long as it promises.

    Raises:
        TextError: The path has a NUL byte or cannot be encoded.
        ModelNotFoundError: There is no such file.
        ModelIsDirectoryError: The path is a folder.
        ModelPermissionError: The file may not be read.
        NotGGUFError: The file is something else than GGUF.
        GGUFVersionError: The version or the byte order is not one that the engine reads.
        TruncatedModelError: The file ends before its header says it should.
        ModelLoadError: The file cannot be read, or its header is damaged.
    """
    return read_layout(path)[0]


def read_layout(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
) -> tuple[GGUFHeader, Layout]:
    """Reads and checks the header of a GGUF file, and says where everything is.

    Args:
        path: As for ``read_header``, and so are the errors.

    Returns:
        The header and the layout.
    """
    name = checked_path(path)
    with open_file(name) as file:
        return _parse(FileReader(file, os.fstat(file.fileno()).st_size, name))


def _parse(reader: FileReader) -> tuple[GGUFHeader, Layout]:
    _check_magic(reader)
    version = _read_version(reader)
    tensor_count, pair_count = reader.unpack(_COUNTS, "the tensor and metadata counts")
    contents = f"a header of {tensor_count} tensors and {pair_count} metadata pairs"
    if tensor_count < 0 or pair_count < 0:
        raise reader.damaged(f"it claims to be {contents}")
    reader.require(tensor_count * _SMALLEST_TENSOR + pair_count * _SMALLEST_PAIR, contents)
    pairs: list[Pair] = []
    metadata, kinds, array_lengths = _read_metadata(reader, pair_count, pairs)
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if alignment.bit_count() != 1:
        raise reader.damaged(f"general.alignment is {alignment}, which is not a power of two")
    tensors = _read_tensors(reader, tensor_count, alignment)
    header = GGUFHeader(
        version=version,
        tensor_count=tensor_count,
        metadata_count=pair_count,
        architecture=metadata.get("general.architecture"),
        file_type=metadata.get("general.type"),
        split_count=metadata.get("split.count", 0),
        alignment=alignment,
        metadata=metadata,
        kinds=kinds,
        array_lengths=array_lengths,
        learned_positions=next((_rows(t) for t in tensors if t.name in _POSITIONS), None),
        flaws=tuple(tensor_flaws(tensors)),
        has_scores=metadata.get("split.count", 0) > 1 or any(map(_makes_scores, tensors)),
    )
    return header, Layout(tuple(pairs), tuple(tensors), reader.position, reader.size)


def _check_magic(reader: FileReader) -> None:
    head = reader.take(min(reader.size, 256), "the magic")
    reader.position = 0
    if _MAGIC.startswith(head[:4]):
        reader.skip(len(_MAGIC), "the magic")
        return
    looks_like, advice = foreign_format(head, reader.size)
    raise errors.NotGGUFError(
        f"{reader.name!r} is not a GGUF file: it starts with {head[:4]!r} instead of {_MAGIC!r}"
        f" and looks like {looks_like}. {advice}"
    )


def _read_version(reader: FileReader) -> int:
    (version,) = reader.unpack(_U32, "the version")
    if version in _SUPPORTED_VERSIONS:
        return int(version)
    problem = f"has GGUF version {version}, but this engine reads only {_SUPPORTED_VERSIONS}"
    advice = "Download or convert the model again; if it is newer than this engine, upgrade."
    if version and version & 0xFFFF == 0:
        problem = f"has the other byte order than this machine: its version reads {version:#010x}"
        advice = "Download it for this machine, or convert it with gguf-py's gguf-convert-endian."
    raise errors.GGUFVersionError(f"{reader.name!r} {problem}. {advice}")


def _read_metadata(
    reader: FileReader, count: int, pairs: list[Pair]
) -> tuple[dict[str, Any], dict[str, int], dict[str, int]]:
    metadata: dict[str, MetadataValue] = {}
    kinds: dict[str, int] = {}
    array_lengths: dict[str, int] = {}
    seen: set[bytes] = set()
    for index in range(count):
        start = reader.position
        raw_key = _read_name(reader, f"metadata key {index}", seen)
        if not raw_key:
            raise reader.damaged(f"metadata key {index} is empty")
        key, what = raw_key.decode(errors="replace"), f"metadata {_shown(raw_key)}"
        (kind,) = reader.unpack(_I32, what)
        required = _REQUIRED_KINDS.get(raw_key, kind)
        if kind != required:
            raise reader.damaged(f"{what} is no {_REQUIRED_KIND_NAMES[required]}")
        kinds[key] = kind
        value = reader.position
        if kind == _ARRAY:
            array_lengths[key] = _skip_array(reader, key, what)
        elif kind == _STRING:
            metadata[key] = reader.string(what).decode(errors="replace")
        elif kind in _SCALARS:
            (metadata[key],) = reader.unpack(_SCALARS[kind], what)
        else:
            raise reader.damaged(f"{what} has the unknown type {kind}")
        pairs.append(Pair(raw_key, kind, start, value, reader.position))
    return metadata, kinds, array_lengths


def _read_name(reader: FileReader, what: str, seen: set[bytes]) -> bytes:
    name = reader.string(what)
    # The engine compares names as C strings: what stands behind a NUL would be hidden from it.
    if b"\0" in name:
        raise reader.damaged(f"{what}, {_shown(name)}, has a NUL byte")
    if name in seen:
        raise reader.damaged(f"{what}, {_shown(name)}, is a duplicate")
    seen.add(name)
    return name


def _skip_array(reader: FileReader, key: str, what: str) -> int:
    kind, length = reader.unpack(_ARRAY_HEAD, what)
    if kind != _STRING and kind not in _SCALARS:
        raise reader.damaged(f"{what} is an array of arrays or of an unknown type ({kind})")
    if length > _MAX_ARRAY_ELEMENTS:
        raise reader.damaged(f"{what} has {length} elements, {_MAX_ARRAY_ELEMENTS} are the most")
    if kind == _STRING:
        is_vocabulary = key == _TOKENS
        strings = reader.strings(length, what, keep=is_vocabulary)
        if is_vocabulary:
            _check_tokens(reader, strings)
    else:
        reader.skip(length * _SCALARS[kind].size, what)
    return int(length)


def _check_tokens(reader: FileReader, tokens: list[bytes]) -> None:
    # The engine asserts that they differ. It reads them as C strings and renames empty ones.
    words = [token.partition(b"\0")[0] if b"\0" in token else token for token in tokens]
    if len(set(words)) < len(words) - max(words.count(b"") - 1, 0):
        words = [word for word in words if word]
        twice = next(word for word, count in Counter(words).items() if count > 1)
        raise reader.damaged(f"token {_shown(twice)} is more than once in the vocabulary")


def _read_tensors(reader: FileReader, count: int, alignment: int) -> list[TensorEntry]:
    """Leave the reader where the data starts."""
    seen: set[bytes] = set()
    next_offset = data_bytes = 0
    tensors = []
    for index in range(count):
        start = reader.position
        name = _read_name(reader, f"tensor name {index}", seen)
        what = f"tensor {_shown(name)}"
        if len(name) > _MAX_TENSOR_NAME:
            raise reader.damaged(f"{what} has a name of more than {_MAX_TENSOR_NAME} bytes")
        shape, type_id, tensor_bytes = _read_tensor_size(reader, what)
        (offset,) = reader.unpack(U64, what)
        if offset != next_offset:
            raise reader.damaged(f"{what} is at offset {offset}, not at {next_offset}")
        data_bytes = offset + tensor_bytes
        next_offset = offset + _padded(tensor_bytes, alignment)
        tensors.append(
            TensorEntry(name, shape, type_id, tensor_bytes, offset, start, reader.position)
        )
    if count:
        reader.skip(_padded(reader.position, alignment) - reader.position, "the header's padding")
        reader.require(data_bytes, f"the data of its {count} tensors")
    return tensors


def _read_tensor_size(reader: FileReader, what: str) -> tuple[tuple[int, ...], int, int]:
    """Return the shape, the type and the bytes of a tensor."""
    (dim_count,) = reader.unpack(_U32, what)
    if dim_count > _MAX_DIMS:
        raise reader.damaged(f"{what} has {dim_count} dimensions, {_MAX_DIMS} are the most")
    shape: list[int] = []
    elements = 1
    for dim in range(dim_count):
        (length,) = reader.unpack(_I64, what)
        shape.append(length)
        elements *= length
        if length < 0 or elements > _MAX_ELEMENTS:
            raise reader.damaged(f"dimension {dim} of {what} has the impossible length {length}")
    (type_id,) = reader.unpack(_I32, what)
    if type_id not in TENSOR_TYPES:
        raise reader.damaged(f"{what} has type {type_id}, which llama.cpp removed or never had")
    _, block_elements, block_bytes = TENSOR_TYPES[type_id]
    row = shape[0] if shape else 1
    if row % block_elements:
        raise reader.damaged(f"{what} has rows of {row} elements, not of n * {block_elements}")
    return tuple(shape), type_id, elements // block_elements * block_bytes


def _rows(tensor: TensorEntry) -> int:
    return 0 if 0 in tensor.shape else math.prod(tensor.shape[1:])


def _makes_scores(tensor: TensorEntry) -> bool:
    # Some have one layer, others one in between that is as wide as the hidden state.
    return tensor.name == b"cls.output.weight" or (
        tensor.name == b"cls.weight" and _rows(tensor) == 1
    )


def _padded(count: int, alignment: int) -> int:
    return (count + alignment - 1) // alignment * alignment


def _shown(name: bytes) -> str:
    return repr(name[:80].decode(errors="replace"))
