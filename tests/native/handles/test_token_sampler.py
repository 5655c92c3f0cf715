"""Choosing among the best of a row: the same token as the whole row gives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_kit import complete, open_llama
from zoo import Zoo

from llama_cpp.errors import InvalidArgumentError, LlamaError
from llama_cpp.handles import Batch, Context, Model, SamplerChain, samplers
from llama_cpp.handles.token_sampler import RowSampler, TokenSampler, TopLogprobs

FORBIDDEN = -math.inf


@pytest.fixture(scope="module")
def model(zoo: Zoo) -> Iterator[Model]:
    with Model(zoo.llama) as loaded:
        yield loaded


def rows(n_vocab: int) -> st.SearchStrategy[npt.NDArray[np.float32]]:
    """Rows with many equal logits, and with forbidden tokens."""

    def row(seed: int, steps: int, forbidden: float) -> npt.NDArray[np.float32]:
        random = np.random.default_rng(seed)
        logits = np.round(random.normal(size=n_vocab) * steps).astype(np.float32)
        logits[random.random(n_vocab) < forbidden] = FORBIDDEN
        logits[random.integers(n_vocab)] = 1
        return logits

    return st.builds(
        row, st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 1000]), st.sampled_from([0, 0.5, 1])
    )


@given(st.data(), st.integers(1, 256))
def test_the_choice_is_among_the_best(model: Model, data: st.DataObject, top_k: int) -> None:
    row = data.draw(rows(model.n_vocab))
    biases = {
        int(t): 2.0 for t in data.draw(st.sets(st.integers(0, model.n_vocab - 1), max_size=5))
    }
    biased = row.copy()
    for token, bias in biases.items():
        biased[token] += bias
    chain = SamplerChain([samplers.top_k(top_k), samplers.dist(1)])
    token = TokenSampler(chain, model.n_vocab, n_best=top_k, biases=biases).sample_row(row)
    assert biased[token] > FORBIDDEN
    assert np.count_nonzero(biased > biased[token]) < top_k


@given(st.data())
def test_greedy_takes_the_best(model: Model, data: st.DataObject) -> None:
    row = data.draw(rows(model.n_vocab))
    sampler = TokenSampler(SamplerChain([samplers.greedy()]), model.n_vocab, n_best=1)
    assert row[sampler.sample_row(row)] == row.max()


@given(st.data(), st.integers(0, 20))
def test_logprobs_are_those_of_the_whole_row(zoo: Zoo, data: st.DataObject, n_top: int) -> None:
    with open_llama(zoo.llama) as llm:
        prompt = data.draw(st.lists(st.integers(300, 600), min_size=1, max_size=8))
        llm.eval(prompt)
        row = llm.logits()
        measure = TopLogprobs(llm.n_vocab(), n_top)
        logprob, top = measure.of(llm._ctx.handle, -1, prompt[0])
    expected = row - np.log(np.exp(row - row.max()).sum()) - row.max()
    assert logprob == pytest.approx(expected[prompt[0]], abs=1e-4)
    best = np.sort(expected)[::-1][:n_top]
    assert [value for _, value in top] == pytest.approx(best, abs=1e-4)
    assert [expected[token] for token, _ in top] == pytest.approx(best, abs=1e-4)


def test_a_row_of_nans_is_refused_and_a_nan_never_chosen(model: Model) -> None:
    chain = SamplerChain([samplers.top_k(40), samplers.dist(1)])
    sampler = TokenSampler(chain, model.n_vocab, n_best=40)
    row = np.full(model.n_vocab, np.nan, np.float32)
    with pytest.raises(LlamaError, match="every token is forbidden"):
        sampler.sample_row(row)
    row[7] = 1
    assert sampler.sample_row(row) == 7


def test_rows_of_one_decode_go_to_their_samplers(model: Model) -> None:
    params = Context.default_params()
    params.n_ctx, params.n_seq_max, params.n_threads = 64, 3, 1
    with Context(model, params) as context:
        batch = Batch(3)
        batch.fill([300, 301, 302], [0, 0, 0], [0, 1, 2], [True] * 3)
        context.decode(batch)
        best = [int(context.logits(index).argmax()) for index in range(3)]
        greedy = [TokenSampler(SamplerChain([samplers.greedy()]), model.n_vocab, n_best=1)
                  for _ in range(2)]  # fmt: skip
        nothing = dict.fromkeys(range(model.n_vocab), FORBIDDEN)
        stuck = TokenSampler(SamplerChain([samplers.greedy()]), model.n_vocab, None, 1, nothing)
        tokens = RowSampler(3).sample(context, [greedy[0], stuck, greedy[1]], [2, 0, 1])
        assert (tokens[0], tokens[2]) == (best[2], best[1])
        assert isinstance(tokens[1], LlamaError)
        assert RowSampler(3).sample(context, [], []) == []
        lost = RowSampler(3).sample(context, greedy, [0, 9])
        assert lost[0] == best[0]
        assert isinstance(lost[1], InvalidArgumentError)
        assert greedy[1].sample(context, 1) == best[1]


def test_one_request_that_fails_leaves_the_others_alone(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_parallel=4) as llm:
        prompts = [[300 + i, 301, 302] for i in range(3)]
        alone = [complete(llm, prompt)["choices"][0]["text"] for prompt in prompts]
        everything = {str(token): FORBIDDEN for token in range(llm.n_vocab())}
        with pytest.raises(LlamaError, match="every token is forbidden"):
            complete(llm, prompts, logit_bias=everything)
        together = complete(llm, prompts)["choices"]
        assert [choice["text"] for choice in together] == alone


class Allowing:
    """A matcher that allows some tokens, but for the first one that it is asked about."""

    is_complete = False

    def __init__(self, allowed: npt.NDArray[np.bool_]) -> None:
        padded = np.zeros(-(-len(allowed) // 32) * 32, bool)
        padded[: len(allowed)] = allowed
        bits = np.packbits(padded, bitorder="little")
        self._words = np.frombuffer(bits.tobytes(), np.uint32)
        self._allowed = allowed
        self.asked: list[int] = []

    def accept(self, token: int) -> bool:
        self.asked.append(token)
        return len(self.asked) > 1 and bool(self._allowed[token])

    def mask(self) -> int:
        return int(self._words.ctypes.data)

    def n_allowed(self, tokens: Sequence[int]) -> int:
        return len(tokens)

    def forced(self) -> Sequence[int]:
        return ()


@given(
    st.integers(0, 2**32 - 1), st.sampled_from([0.001, 0.3, 0.999, 1]), st.sampled_from([0, 1, 40]),
    st.booleans(),
)  # fmt: skip
def test_the_choice_is_among_the_best_of_what_is_allowed(
    seed: int, share: float, n_best: int, is_biased: bool
) -> None:
    random = np.random.default_rng(seed)
    n_vocab = 5003
    row = random.normal(size=n_vocab).astype(np.float32)
    allowed = random.random(n_vocab) < share
    allowed[random.integers(n_vocab)] = True
    biases = {int(token): 3.0 for token in random.integers(n_vocab, size=9)} if is_biased else {}
    biased = row.copy()
    biased[list(biases)] += 3.0
    best = [samplers.top_k(n_best or 1)]
    matcher = Allowing(allowed)
    sampler = TokenSampler(
        SamplerChain([*best, samplers.dist(1)]), n_vocab, matcher, n_best, biases
    )
    token = sampler.sample_row(row)
    assert matcher.asked[-1] == token and len(matcher.asked) == 2
    assert allowed[token]
    assert np.count_nonzero(biased[allowed] > biased[token]) < (n_best or 1)
