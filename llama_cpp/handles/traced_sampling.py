"""Sampling whose steps can be looked at: what each sampler of a chain leaves."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

from ..errors import GrammarError
from .candidates import Candidates
from .sampler import allows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .token_sampler import TokenSampler

TRACED_MAX = 20
"""How many candidates a stage tells."""


class TraceStage(NamedTuple):
    """What one sampler left: how many candidates, and the log-probabilities of the likeliest."""

    sampler: str
    n_candidates: int
    candidates: list[tuple[int, float]]


def sample_traced(
    sampler: TokenSampler, row: npt.NDArray[np.float32]
) -> tuple[int, list[TraceStage]]:
    """Choose a token as ``TokenSampler.sample_row`` does, and accept it; tell how it was chosen.

    Returns:
        The token; and the stages: "logits", before all samplers, "constraint" if that refused what
        was chosen first, and one for each sampler, the last of which has the choice alone.

    Raises:
        GrammarError: The constraint allows no token.
        LlamaError: Nothing can be chosen.
    """
    import numpy as np

    logits = np.where(np.isnan(row), np.float32(-np.inf), row)
    for token, bias in sampler.biases.items():
        logits[token] += bias
    candidates = Candidates(logits)
    stages = [_stage("logits", candidates)]
    token = _apply(sampler, candidates, stages)
    if not _agrees(sampler, token):
        candidates = _allowed(sampler, logits)
        stages = [stages[0], _stage("constraint", candidates)]
        token = _apply(sampler, candidates, stages)
        if not _agrees(sampler, token):
            raise GrammarError(f"the constraint allows token {token} here, and refuses it")
    sampler.chain.accept(token)
    if sampler.grammar is not None:
        sampler.grammar.accept(token)
    return token, stages


def _apply(sampler: TokenSampler, candidates: Candidates, stages: list[TraceStage]) -> int:
    """Apply the chain, add its stages, and return what it chose."""
    steps = sampler.chain.apply_each(candidates)
    for _ in range(len(sampler.chain)):
        if not stages[-1].n_candidates:  # the engine would divide by the sum of no probabilities
            raise sampler.failure("every token is forbidden here (their logits are all -infinity)")
        stages.append(_stage(next(steps), candidates))
    return candidates.selected_token


def _agrees(sampler: TokenSampler, token: int) -> bool:
    """Whether the constraint allows a token; a matcher has taken it then."""
    if sampler.matcher is not None:
        return sampler.matcher.accept(token)
    return sampler.grammar is None or allows(sampler.grammar, token)


def _allowed(sampler: TokenSampler, logits: npt.NDArray[np.float32]) -> Candidates:
    """Those that the constraint allows."""
    import numpy as np

    candidates = Candidates(logits)
    data = candidates.data
    if sampler.matcher is not None:
        words = ctypes.string_at(sampler.matcher.mask(), -(-len(logits) // 32) * 4)
        bits = np.unpackbits(
            np.frombuffer(words, np.uint32).astype("<u4").view(np.uint8), bitorder="little"
        )
        data["logit"][bits[: len(logits)] == 0] = -np.inf
    elif sampler.grammar is not None:
        sampler.grammar.apply(candidates)
    kept = data[data["logit"] > -np.inf]
    if not kept.size:
        raise sampler.failure("nothing is allowed here")
    data[: kept.size] = kept
    candidates.truncate(kept.size)
    return candidates


def _stage(name: str, candidates: Candidates) -> TraceStage:
    import numpy as np

    data = candidates.data
    possible = data["logit"] > -np.inf
    ids, logits = data["id"][possible], data["logit"][possible].astype(np.float64)
    if not logits.size:
        return TraceStage(name, 0, [])
    highest = logits.max()
    logprobs = logits - highest - np.log(np.exp(logits - highest).sum())
    if candidates.selected >= 0:
        best = np.flatnonzero(ids == candidates.selected_token)
        n_candidates = 1
    else:
        n_best = min(TRACED_MAX, ids.size)
        best = np.argpartition(-logprobs, n_best - 1)[:n_best]
        best = best[np.argsort(-logprobs[best], kind="stable")]
        n_candidates = ids.size
    told = zip(ids[best].tolist(), logprobs[best].tolist(), strict=True)
    return TraceStage(name, n_candidates, list(told))
