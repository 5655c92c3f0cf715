"""Rows of logits of several texts, as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .context import Context


def logit_rows(context: Context, indices: Sequence[int]) -> npt.NDArray[np.float32]:
    """Copy rows of logits.

    Args:
        context: Its last decode gave them.
        indices: Of the batch entries.

    Returns:
        float32, shape (indices, n_vocab).

    Raises:
        InvalidArgumentError: There are no logits for one of them.
    """
    import numpy as np

    n_vocab = context.model.n_vocab
    rows = np.empty((len(indices), n_vocab), np.float32)
    pointer = context.acquire()
    try:
        for row, index in zip(rows, indices, strict=True):
            logits = raw.llama_get_logits_ith(pointer, index)
            if not logits:
                raise InvalidArgumentError(f"the last decode gave no logits for entry {index}")
            row[:] = np.ctypeslib.as_array(logits, (n_vocab,))
    finally:
        context.release()
    return rows
