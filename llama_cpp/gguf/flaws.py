"""Tensors that the engine loads, and ends the process when it computes with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ..errors import ModelLoadError
from .layout import TENSOR_TYPES, TensorEntry

_F32 = 0
# What is added, multiplied element by element, convolved or scanned, and no file of upstream's
# converter has in another type (conversion/base.py).
_ONLY_F32 = re.compile(
    rb"(_norm|ssm_conv1d|shortconv\.conv|^a\.position_embd)\.weight$|\.bias$|\.ssm_[ad]$"
)
# What others are converted to on the way, and never stored, and numbers that are no weights.
_NO_WEIGHTS = {9, 15, 24, 25, 26, 27, 28}
# Tables of indices: token ids of a draft's vocabulary, and the experts of each token.
_INDICES = re.compile(rb"^d2t$|ffn_gate_tid2eid")
_QUERIES = re.compile(rb"^([av]\.blk\.\d+)\.attn_q\.weight$")


def tensor_flaws(tensors: Iterable[TensorEntry]) -> Iterator[str]:
    """Say what is wrong with tensors of a model, an adapter or a projector."""
    names = {tensor.name for tensor in tensors}
    for tensor in tensors:
        name = tensor.name.decode("utf-8", "replace")
        if not _has_kernel(tensor):
            kind = TENSOR_TYPES[tensor.type_id].name
            yield f"{name} has the type {kind}, for which there is no kernel"
        # For projectors the loader takes them to be optional.
        if (match := _QUERIES.match(tensor.name)) is not None:
            for part in (b"attn_k", b"attn_v"):
                if match[1] + b".%s.weight" % part not in names:
                    yield f"{name} is there without {part.decode()}.weight"


def _has_kernel(tensor: TensorEntry) -> bool:
    if _INDICES.search(tensor.name):
        return tensor.type_id in _NO_WEIGHTS
    if tensor.type_id in _NO_WEIGHTS:
        return False
    is_row = len(tensor.shape) == 1
    return tensor.type_id == _F32 or not (is_row or _ONLY_F32.search(tensor.name))


def check_flaws(flaws: Sequence[str], path: str) -> None:
    """Refuse a file with tensors that the engine would end the process on.

    Args:
        flaws: Of ``tensor_flaws``.
        path: The file.

    Raises:
        ModelLoadError: There are some.
    """
    if flaws:
        more = f" (and {len(flaws) - 1} more)" if len(flaws) > 1 else ""
        raise ModelLoadError(
            f"{path!r} cannot be computed with: {flaws[0]}{more}. Convert the model again."
        )
