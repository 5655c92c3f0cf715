"""The ``sample_*`` methods of ``LlamaContext`` against their definitions, in numpy."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from internals_kit import (
    Floats,
    candidates_of,
)

from llama_cpp import errors
from llama_cpp._internals import (
    LlamaContext,
    LlamaTokenDataArray,
)


@pytest.fixture
def logits() -> Floats:
    return np.random.default_rng(3).normal(0, 2, 60).astype(np.float32)


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(weights / weights.sum())


def kept(candidates: LlamaTokenDataArray) -> list[int]:
    return list(candidates.candidates_data.id[: candidates.candidates.size])


def by_rank(logits: Floats) -> npt.NDArray[np.intp]:
    return np.argsort(-logits)


def test_candidates_start_over(logits: Floats) -> None:
    candidates = LlamaTokenDataArray(n_vocab=60)
    assert kept(candidates) == list(range(60))
    candidates.candidates_data.logit[:] = 5
    candidates.candidates.size = 3
    candidates.copy_logits(logits)
    assert kept(candidates) == list(range(60))
    assert candidates.candidates.data[7].logit == logits[7]
    with pytest.raises(errors.InvalidArgumentError, match="60"):
        candidates.copy_logits(logits[:59])
    with pytest.raises(errors.InvalidArgumentError):
        LlamaTokenDataArray(n_vocab=0)


def test_candidates_of_an_impossible_size(ctx: LlamaContext, logits: Floats) -> None:
    for size in (0, 61):
        candidates = candidates_of(logits)
        candidates.candidates.size = size
        with pytest.raises(errors.InvalidArgumentError, match="size"):
            ctx.sample_top_k(candidates, 3, 1)


def test_softmax(ctx: LlamaContext, logits: Floats) -> None:
    candidates = candidates_of(logits)
    ctx.sample_softmax(candidates)
    assert kept(candidates) == by_rank(logits).tolist()
    np.testing.assert_allclose(
        candidates.candidates_data.p, np.sort(softmax(logits))[::-1], rtol=1e-5
    )
    ruled_out = candidates_of(np.full(4, -np.inf, np.float32))
    ctx.sample_softmax(ruled_out)
    assert ruled_out.candidates_data.p.tolist() == [0.25] * 4


def test_truncations(ctx: LlamaContext, logits: Floats) -> None:
    probabilities, ranks = softmax(logits), by_rank(logits)
    sums = np.cumsum(probabilities[ranks])
    nucleus = ranks[: int(np.searchsorted(sums, 0.7)) + 1]
    likely = np.flatnonzero(probabilities >= 0.1 * probabilities.max())
    surprise = -np.log(probabilities)
    distance = np.abs(surprise - (probabilities * surprise).sum())
    typical_ranks = np.argsort(distance)
    typical_sums = np.cumsum(probabilities[typical_ranks])
    typical = typical_ranks[: int(np.searchsorted(typical_sums, 0.5)) + 1]
    cases: list[tuple[str, tuple[float, int], npt.NDArray[Any]]] = [
        ("top_k", (5, 1), ranks[:5]),
        ("top_k", (5, 9), ranks[:9]),
        ("top_k", (0, 9), ranks),
        ("top_p", (0.7, 1), nucleus),
        ("top_p", (0.0, 3), ranks[:3]),
        ("min_p", (0.1, 1), likely),
        ("min_p", (1.0, 4), ranks[:4]),
        ("typical", (0.5, 1), typical),
        ("typical", (1.0, 1), ranks),
    ]
    for name, arguments, expected in cases:
        candidates = candidates_of(logits)
        getattr(ctx, f"sample_{name}")(candidates, *arguments)
        assert sorted(kept(candidates)) == sorted(expected.tolist()), (name, arguments)


def test_temperature_and_greedy(ctx: LlamaContext, logits: Floats) -> None:
    candidates = candidates_of(logits)
    ctx.sample_temp(candidates, 0.5)
    np.testing.assert_allclose(candidates.candidates_data.logit, logits * 2, rtol=1e-6)
    assert ctx.sample_token_greedy(candidates) == logits.argmax()
    ctx.sample_temp(candidates, 0.0)
    assert np.isfinite(candidates.candidates_data.logit).sum() == 1


@pytest.mark.parametrize("last_n", [3, -1, 0, 99])
def test_repetition_penalties(ctx: LlamaContext, logits: Floats, last_n: int) -> None:
    tokens = [4, 9, 9, 17, 9]
    counted = [] if last_n == 0 else tokens[-last_n:] if last_n > 0 else tokens
    expected = logits.copy()
    for token in set(counted):
        expected[token] *= 1.3 if expected[token] <= 0 else 1 / 1.3
        expected[token] -= 0.2 * counted.count(token) + 0.4
    candidates = candidates_of(logits)
    ctx.sample_repetition_penalties(candidates, tokens, last_n, 1.3, 0.2, 0.4)
    np.testing.assert_allclose(candidates.candidates_data.logit, expected, rtol=1e-5)


def test_repetition_penalties_of_a_c_array(ctx: LlamaContext, logits: Floats) -> None:
    array = (ctypes.c_int32 * 3)(4, 9, 9)
    pointer = ctypes.cast(array, ctypes.POINTER(ctypes.c_int32))
    changed = []
    for data in ([4, 9, 9], array, pointer):
        candidates = candidates_of(logits)
        ctx.sample_repetition_penalties(candidates, data, 3, 1.5, 0.0, 0.0)
        changed.append(candidates.candidates_data.logit.tolist())
    assert changed[0] == changed[1] == changed[2] != logits.tolist()
    with pytest.raises(errors.InvalidArgumentError, match="length"):
        ctx.sample_repetition_penalties(candidates_of(logits), pointer, -1, 1.5, 0.0, 0.0)


def test_random_tokens_follow_their_probability_and_the_seed(ctx: LlamaContext) -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2, 1e-9], np.float32))

    def draw(seed: int, n: int) -> list[int]:
        ctx.set_rng_seed(seed)
        return [ctx.sample_token(candidates_of(logits)) for _ in range(n)]

    first = draw(11, 400)
    assert first == draw(11, 400) != draw(12, 400)
    shares = np.bincount(first, minlength=4) / 400
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2, 0], atol=0.08)
    assert draw(-1, 400) != draw(-1, 400)


def paper_k(p: npt.NDArray[np.float64], m: int, mu: float) -> int:
    """Mirostat's k from sorted probabilities."""
    head = p[:m]
    t = np.log(np.arange(2, len(head) + 1) / np.arange(1, len(head)))
    s = (t * np.log(head[:-1] / head[1:])).sum() / (t**2).sum()
    epsilon = s - 1
    return int((epsilon * 2**mu / (1 - len(p) ** -epsilon)) ** (1 / s))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("mu", [3.0, 4.0, 300.0, 1e6])
def test_mirostat(ctx: LlamaContext, logits: Floats, version: int, mu: float) -> None:
    p = np.sort(softmax(logits))[::-1]
    if version == 2:
        expected = int((-np.log2(p) <= mu).sum())
    else:
        expected = min(paper_k(p, 20, mu), 60) if mu < 100 else 60
    ctx.set_rng_seed(5)
    candidates, limit = candidates_of(logits), ctypes.c_float(mu)
    if version == 2:
        token = ctx.sample_token_mirostat_v2(candidates, 4.0, 0.1, ctypes.byref(limit))
    else:
        token = ctx.sample_token_mirostat(candidates, 4.0, 0.1, 20, ctypes.pointer(limit))
    assert candidates.candidates.size == expected
    rank = by_rank(logits).tolist().index(token)
    surprise = -np.log2(p[rank] / p[:expected].sum())
    assert limit.value == pytest.approx(mu - 0.1 * (surprise - 4.0), rel=1e-4)


def test_mirostat_at_the_edges(ctx: LlamaContext) -> None:
    for row in ([1.0], [0.0] * 8, [3.0] + [-np.inf] * 7, [-np.inf] * 8, [3.0, 2.0, -np.inf]):
        mu = ctypes.c_float(5.0)
        candidates = candidates_of(np.array(row, np.float32))
        ctx.sample_token_mirostat(candidates, 5.0, 0.1, 100, mu)
        assert np.isfinite(mu.value)
        assert 1 <= candidates.candidates.size <= len(row)
    # The k-th is 1 / k as likely as the best: epsilon is 0.
    zipf = np.log(1 / np.arange(1, 61)).astype(np.float32)
    ctx.sample_token_mirostat(candidates := candidates_of(zipf), 5.0, 0.1, 100, ctypes.c_float(5))
    assert candidates.candidates.size == int(2**5 / np.log(60))
    with pytest.raises(errors.InvalidArgumentError, match="c_float"):
        ctx.sample_token_mirostat_v2(candidates, 5.0, 0.1, 5.0)
