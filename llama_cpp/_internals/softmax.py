"""Softmax over candidates: a sampler that the engine has no longer."""

from __future__ import annotations

from ..handles import Candidates


def sort_and_normalize(candidates: Candidates) -> None:
    """Sort candidates by falling logits and compute their probabilities: a softmax."""
    import numpy as np

    data = candidates.data
    if not candidates.is_sorted:
        data[:] = data[np.argsort(-data["logit"], kind="stable")]
        candidates.is_sorted = True
        candidates.selected = -1
    logits = data["logit"]
    best = logits == logits[0]
    # The difference of two infinities is no number; what equals the best is as likely as it.
    with np.errstate(invalid="ignore"):
        weights = np.where(best, np.float32(1), np.exp(logits - logits[0]))
    data["p"] = weights / weights.sum()
