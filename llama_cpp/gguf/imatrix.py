"""Importance matrices: how much each column of a weight matters to what the model computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InvalidArgumentError, ModelLoadError, NotGGUFError
from ..validation import native_arguments as checks
from . import files as gguf
from .output_file import path_text

if TYPE_CHECKING:
    import numpy.typing as npt

_SUMS, _COUNTS = ".in_sum2", ".counts"
_KEYS = ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size")


class Imatrix(NamedTuple):
    """An importance matrix.

    Attributes:
        entries: By the name of the tensor, a number for each of its columns; for a tensor of
            experts, those of one expert after the other.
        notes: What ``llama-quantize`` notes about it in the metadata of the new model.
    """

    entries: dict[str, npt.NDArray[np.float32]]
    notes: dict[str, str | int]


def open_imatrix(source: Any) -> Imatrix:
    """Read an importance matrix, or take what is one already.

    Args:
        source: A file that llama.cpp's ``llama-imatrix`` wrote, or a mapping of names to numbers.

    Raises:
        InvalidArgumentError: It is none.
        ModelLoadError: The file cannot be read.
    """
    if isinstance(source, Mapping):
        imatrix = Imatrix(dict(source), {})
    else:
        imatrix = _read(path_text(source, "imatrix"))
    if not imatrix.entries:
        raise InvalidArgumentError(f"imatrix={source!r} has no entries")
    entries = {}
    for name, values in imatrix.entries.items():
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(f"imatrix: {name!r} is no name of a tensor")
        what = f"values of imatrix[{name!r}]"
        numbers = checks.finite_floats(values, what).ravel()
        if not numbers.size or numbers.min() < 0:
            raise InvalidArgumentError(f"the {what} must be one or more numbers, none negative")
        entries[name] = np.ascontiguousarray(numbers)
    notes = {**imatrix.notes, "quantize.imatrix.entries_count": len(entries)}
    return Imatrix(entries, notes)


def _read(path: str) -> Imatrix:
    try:
        file = gguf.read(path)
    except NotGGUFError:
        return _read_legacy(path)
    missing = [key for key in _KEYS if key not in file.metadata]
    if missing:
        raise ModelLoadError(f"{path!r} is no importance matrix: it has no {missing[0]}")
    halves: dict[str, dict[str, gguf.Tensor]] = {}
    for tensor in file.tensors:
        for ending in (_SUMS, _COUNTS):
            if tensor.name.endswith(ending):
                halves.setdefault(tensor.name.removesuffix(ending), {})[ending] = tensor
    entries = {}
    for name, half in halves.items():
        if set(half) != {_SUMS, _COUNTS} or any(part.type != "F32" for part in half.values()):
            raise ModelLoadError(f"{path!r} is damaged: {name!r} has not sums and counts, as F32")
        sums, counts = (np.frombuffer(half[part].read(), np.float32) for part in (_SUMS, _COUNTS))
        if not counts.size or sums.size % counts.size:
            raise ModelLoadError(f"{path!r} is damaged: {name!r} has {counts.size} counts")
        per_expert, seen = sums.reshape(counts.size, -1), np.rint(counts)[:, None]
        # An expert that was never asked is taken to need all columns alike.
        means = np.where(seen > 0, per_expert / np.maximum(seen, 1), np.float32(1))
        entries[name] = means.astype(np.float32).ravel()
    notes: dict[str, str | int] = {"quantize.imatrix.file": path}
    datasets, chunks = (file.metadata[key] for key in _KEYS[:2])
    if isinstance(datasets, list) and datasets:
        notes["quantize.imatrix.dataset"] = str(datasets[0])
    if isinstance(chunks, int) and chunks > 0:
        notes["quantize.imatrix.chunks_count"] = chunks
    return Imatrix(entries, notes)


def _read_legacy(path: str) -> Imatrix:
    """Read what llama-imatrix wrote before it wrote GGUF files."""
    try:
        content = memoryview(Path(path).read_bytes())
    except OSError as error:
        raise ModelLoadError(f"{path!r} cannot be read: {error.strerror or error}.") from error
    position = 0

    def take(count: int) -> memoryview:
        nonlocal position
        if not 0 <= count <= len(content) - position:
            raise ModelLoadError(f"{path!r} is no importance matrix, or it is cut off.")
        position += count
        return content[position - count : position]

    def number() -> int:
        return int(np.frombuffer(take(4), np.int32)[0])

    entries = {}
    for _ in range(number()):
        name = bytes(take(number())).decode(errors="replace")
        calls = number()
        sums = np.frombuffer(take(4 * number()), np.float32)
        entries[name] = sums / np.float32(max(calls, 1))
    return Imatrix(entries, {"quantize.imatrix.file": path})
