"""Samplers choose what their definitions say."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from handles_kit import TOKENS, batch_of, decode, open_context

from llama_cpp.handles import sampler_kinds as kinds
from llama_cpp.handles.candidates import Candidates
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model
from llama_cpp.handles.sampler import Sampler, SamplerChain

N = 500


@pytest.fixture
def context(model: Model) -> Context:
    context = open_context(model)
    decode(context)
    return context


@pytest.fixture
def logits() -> npt.NDArray[np.float32]:
    return np.random.default_rng(7).normal(size=N).astype(np.float32)


def left(sampler: Sampler, logits: npt.NDArray[np.float32]) -> dict[int, float]:
    """The candidates that a sampler keeps: token and logit."""
    candidates = Candidates(logits)
    sampler.apply(candidates)
    return dict(zip(candidates.data["id"].tolist(), candidates.data["logit"].tolist(), strict=True))


def softmax(logits: Any) -> npt.NDArray[np.float64]:
    weights: npt.NDArray[np.float64] = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    weights /= weights.sum()
    return weights


def draw(chain: SamplerChain, context: Context, count: int = 20) -> list[int]:
    return [chain.sample(context) for _ in range(count)]


def test_greedy_is_the_argmax(context: Context) -> None:
    assert SamplerChain([kinds.greedy()]).sample(context) == context.logits().argmax()


def test_top_k_keeps_the_k_highest(logits: npt.NDArray[np.float32]) -> None:
    for k in (1, 7, 100, N, 2 * N):
        best = np.argsort(-logits)[:k].tolist()
        assert set(left(kinds.top_k(k), logits)) == set(best)
    assert len(left(kinds.top_k(0), logits)) == N


def test_temperature_divides(logits: npt.NDArray[np.float32]) -> None:
    kept = left(kinds.temp(0.5), logits)
    np.testing.assert_allclose([kept[token] for token in range(N)], logits / 0.5, rtol=1e-6)
    cold = left(kinds.temp(0.0), logits)
    assert [token for token, logit in cold.items() if logit > -np.inf] == [logits.argmax()]


def test_top_p_keeps_the_smallest_set_of_that_probability(logits: npt.NDArray[np.float32]) -> None:
    order = np.argsort(-logits)
    sums = np.cumsum(softmax(logits)[order])
    for p in (0.1, 0.5, 0.9):
        count = int(np.searchsorted(sums, p) + 1)
        assert set(left(kinds.top_p(p), logits)) == set(order[:count].tolist())


def test_min_p_keeps_what_is_near_the_best(logits: npt.NDArray[np.float32]) -> None:
    probabilities = softmax(logits)
    kept = np.flatnonzero(probabilities >= 0.2 * probabilities.max())
    assert set(left(kinds.min_p(0.2), logits)) == set(kept.tolist())


def test_top_n_sigma_keeps_what_is_within_deviations(logits: npt.NDArray[np.float32]) -> None:
    kept = left(kinds.top_n_sigma(1.0), logits)
    alive = {token for token, logit in kept.items() if logit > -np.inf}
    assert alive == set(np.flatnonzero(logits >= logits.max() - logits.std()).tolist())


def test_penalties_and_biases(logits: npt.NDArray[np.float32]) -> None:
    sampler = kinds.penalties(N, repeat=2.0, freq=0.5, present=0.25)
    for token in (3, 3, 4):
        sampler.accept(token)
    kept = left(sampler, logits)
    for token, count in ((3, 2), (4, 1)):
        logit = float(logits[token])
        scaled = logit / 2.0 if logit > 0 else logit * 2.0
        assert kept[token] == pytest.approx(scaled - 0.5 * count - 0.25, rel=1e-5)
    assert kept[5] == pytest.approx(float(logits[5]))
    biased = left(kinds.logit_bias(N, {7: 1.5, 8: -np.inf}), logits)
    assert biased[7] == pytest.approx(float(logits[7]) + 1.5)
    assert biased[8] == -np.inf


def test_chain_equals_its_members_one_after_another(context: Context) -> None:
    logits = context.logits() / 0.7
    best = np.argsort(-logits)[:5]
    expected = softmax(logits[best])
    chain = SamplerChain([kinds.top_k(5), kinds.temp(0.7), kinds.dist(11)])
    counts = np.bincount(np.array(draw(chain, context, 4000)), minlength=len(logits))
    assert counts[best].sum() == 4000
    np.testing.assert_allclose(counts[best] / 4000, expected, atol=0.04)


def test_same_seed_draws_the_same(context: Context) -> None:
    def draws(seed: int) -> list[int]:
        return draw(SamplerChain([kinds.temp(3.0), kinds.dist(seed)]), context)

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert draws(kinds.RANDOM_SEED) != draws(kinds.RANDOM_SEED)


def test_reset_starts_the_seed_over(context: Context) -> None:
    chain = SamplerChain([kinds.temp(3.0), kinds.dist(5)])
    first = draw(chain, context)
    chain.reset()
    assert draw(chain, context) == first
    assert kinds.dist(5).seed == 5


def test_clone_goes_on_by_itself(context: Context, model: Model) -> None:
    penalties = kinds.penalties(model.n_vocab, repeat=1.5)
    chain = SamplerChain([penalties, kinds.temp(3.0), kinds.dist(5)])
    draw(chain, context, 5)
    clone = chain.clone()
    assert clone.names == chain.names == ["penalties", "temp", "dist"]
    expected = draw(clone, context)
    clone.close()
    assert draw(chain, context) == expected


def test_members_can_be_taken_out_and_put_back(context: Context) -> None:
    chain = SamplerChain([kinds.top_k(3), kinds.greedy()])
    greedy = chain.remove(1)
    assert (len(chain), chain.selects, greedy.selects) == (1, False, True)
    chain.add(greedy)
    assert chain.sample(context) == context.logits().argmax()
    assert SamplerChain([chain]).sample(context) == context.logits().argmax()


def test_logits_of_any_row_are_sampled(model: Model) -> None:
    context, chain = open_context(model), SamplerChain([kinds.greedy()])
    context.decode(batch_of(output_all=True))
    for index in range(len(TOKENS)):
        assert chain.sample(context, index) == context.logits(index).argmax()


def test_grammar_is_obeyed(model: Model) -> None:
    vocab, context = model.vocab, open_context(model)
    text = 'root ::= (" hello" | " world"){3} "."'
    for seed in range(5):
        chain = SamplerChain([kinds.grammar(vocab, text), kinds.temp(2.0), kinds.dist(seed)])
        context.memory.clear()
        decode(context)
        tokens = []
        while (token := chain.sample(context)) != vocab.eos:
            tokens.append(token)
            decode(context, [token], len(TOKENS) + len(tokens) - 1)
        words = vocab.detokenize([vocab.tokenize("", add_special=True)[0], *tokens]).decode()
        assert words.endswith(".")
        assert len(words.rstrip(".").split()) == 3
        assert set(words.rstrip(".").split()) <= {"hello", "world"}


def test_lazy_grammar_waits_for_its_trigger(model: Model) -> None:
    vocab = model.vocab
    trigger = vocab.tokenize("<tool_call>", add_special=False, parse_special=True)[-1]
    sampler = kinds.grammar_lazy(vocab, 'root ::= "<tool_call>" [0-9]', trigger_tokens=[trigger])

    def allowed() -> int:
        kept = left(sampler, np.zeros(vocab.n_tokens, np.float32))
        return sum(logit > -np.inf for logit in kept.values())

    sampler.accept(TOKENS[0])
    assert allowed() == vocab.n_tokens
    sampler.accept(trigger)
    assert 10 <= allowed() <= 20  # the digits, and the bytes that stand for them


def test_python_sampler_changes_and_chooses(context: Context) -> None:
    log: list[Any] = []

    def second_best(candidates: Candidates) -> None:
        order = np.argsort(-candidates.data["logit"])
        candidates.selected = int(order[1])

    def keep_even(candidates: Candidates) -> None:
        even = candidates.data[candidates.data["id"] % 2 == 0].copy()
        candidates.data[: len(even)] = even
        candidates.truncate(len(even))

    logits = context.logits()
    chain = SamplerChain([kinds.python(second_best, log.append, lambda: log.append("reset"))])
    with pytest.raises(ValueError, match="end the chain"):
        SamplerChain([kinds.python(keep_even)]).sample(context)
    assert chain.sample(context) == np.argsort(-logits)[1]
    chain.reset()
    assert log == [np.argsort(-logits)[1], "reset"]
    even = SamplerChain([kinds.python(keep_even, name="even"), kinds.greedy()])
    assert even.names == ["even", "greedy"]
    assert even.sample(context) == np.where(np.arange(len(logits)) % 2, -np.inf, logits).argmax()
    assert SamplerChain([even.clone()]).sample(context) == even.sample(context)


def test_candidates_show_what_is_left() -> None:
    candidates = Candidates([0.5, 2.0, 1.0])
    assert (len(candidates), candidates.selected, candidates.is_sorted) == (3, -1, False)
    kinds.top_k(2).apply(candidates)
    assert candidates.data["id"].tolist() == [1, 2]
    assert candidates.is_sorted
    kinds.greedy().apply(candidates)
    assert candidates.selected_token == 1
