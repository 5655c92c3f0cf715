"""Log-probabilities of logits that callers have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def log_softmax(logits: npt.ArrayLike, axis: int = -1) -> npt.NDArray[np.single]:
    """Turn logits into log-probabilities, float32 of the same shape.

    Args:
        logits: Any shape.
        axis: Along which the probabilities sum up to 1.
    """
    import numpy as np

    values = np.asarray(logits, np.float32)
    shifted = values - values.max(axis=axis, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    logprobs: npt.NDArray[np.single] = (shifted - total).astype(np.single)
    return logprobs
