"""Types of tensors that the engine loads, and has no kernel for: it ends the process."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .. import errors
from .layout import TENSOR_TYPES, TensorEntry

_F32 = 0
# What is added, multiplied element by element, convolved or scanned, and no file of upstream's
# converter has in another type (conversion/base.py).
_ONLY_F32 = re.compile(
    rb"(_norm|ssm_conv1d|shortconv\.conv)\.weight$|(?<!\.weight)(?<!\.lora_a)(?<!\.lora_b)$"
)
# What others are converted to on the way, and never stored, and numbers that are no weights.
_NO_WEIGHTS = {9, 15, 24, 25, 26, 27, 28}
# Tables of indices: token ids of a draft's vocabulary, and the experts of each token.
_INDICES = re.compile(rb"^d2t$|ffn_gate_tid2eid")


def without_kernel(tensors: Iterable[TensorEntry]) -> list[str]:
    """Return what is wrong with tensors of a model, adapter or projector, one text for each."""
    return [
        f"{tensor.name.decode('utf-8', 'replace')} has the type {TENSOR_TYPES[tensor.type_id].name}"
        for tensor in tensors
        if not _has_kernel(tensor)
    ]


def _has_kernel(tensor: TensorEntry) -> bool:
    if _INDICES.search(tensor.name):
        return tensor.type_id in _NO_WEIGHTS
    if tensor.type_id in _NO_WEIGHTS:
        return False
    return tensor.type_id == _F32 or not (len(tensor.shape) == 1 or _ONLY_F32.search(tensor.name))


def check_kernels(problems: Sequence[str], path: str) -> None:
    """Refuse a file with tensors that the engine ends the process on.

    Args:
        problems: Of ``without_kernel``.
        path: The file.

    Raises:
        ModelLoadError: There are some.
    """
    if problems:
        count = len(problems)
        raise errors.ModelLoadError(
            f"{path!r} cannot be computed with: {problems[0]}, for which the engine has no kernel"
            f"{f', and {count - 1} more tensors have such types' if count > 1 else ''}. "
            "Convert the model again."
        )
