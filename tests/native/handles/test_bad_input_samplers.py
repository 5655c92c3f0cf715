"""Samplers with impossible arguments, on impossible candidates, and with impossible callbacks."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from handles_kit import batch_of, decode, open_context
from isolated import Cases, Files, Outcomes

from llama_cpp.errors import (
    ClosedError,
    InvalidArgumentError,
    LlamaError,
    TextError,
    TokenError,
)
from llama_cpp.handles import sampler_kinds as kinds
from llama_cpp.handles.candidates import Candidates
from llama_cpp.handles.model import Model
from llama_cpp.handles.sampler import Sampler, SamplerChain
from llama_cpp.handles.vocab import Vocab

cases = Cases(__file__)

N_VOCAB = 684
NUMBERS: tuple[Any, ...] = (
    float("nan"), float("inf"), float("-inf"), -1, -1.5, 0, 0.5, 1, 2, 1e38, -1e38, 1e300,
    2**31 - 1, 2**31, -(2**31), 2**32, 2**63, 2**64, 2**200, "x", None, True, [1], b"1",
)  # fmt: skip


def makers(vocab: Vocab) -> dict[str, Callable[[Any], Sampler]]:
    """A sampler of every kind for every one of its arguments."""
    return {
        "dist seed": lambda x: kinds.dist(x),
        "top_k k": lambda x: kinds.top_k(x),
        "top_p p": lambda x: kinds.top_p(x),
        "top_p min_keep": lambda x: kinds.top_p(0.5, x),
        "min_p p": lambda x: kinds.min_p(x),
        "min_p min_keep": lambda x: kinds.min_p(0.5, x),
        "typical p": lambda x: kinds.typical(x),
        "typical min_keep": lambda x: kinds.typical(0.5, x),
        "temp t": lambda x: kinds.temp(x),
        "temp_ext t": lambda x: kinds.temp_ext(x, 0.5, 1.0),
        "temp_ext delta": lambda x: kinds.temp_ext(1.0, x, 1.0),
        "temp_ext exponent": lambda x: kinds.temp_ext(1.0, 0.5, x),
        "xtc p": lambda x: kinds.xtc(x, 0.1, seed=1),
        "xtc t": lambda x: kinds.xtc(1.0, x, seed=1),
        "xtc min_keep": lambda x: kinds.xtc(1.0, 0.01, x, seed=1),
        "xtc seed": lambda x: kinds.xtc(1.0, 0.01, seed=x),
        "top_n_sigma n": lambda x: kinds.top_n_sigma(x),
        "mirostat n_vocab": lambda x: kinds.mirostat(x, 1),
        "mirostat seed": lambda x: kinds.mirostat(N_VOCAB, x),
        "mirostat tau": lambda x: kinds.mirostat(N_VOCAB, 1, x),
        "mirostat eta": lambda x: kinds.mirostat(N_VOCAB, 1, 5.0, x),
        "mirostat m": lambda x: kinds.mirostat(N_VOCAB, 1, 5.0, 0.1, x),
        "mirostat_v2 seed": lambda x: kinds.mirostat_v2(x),
        "mirostat_v2 tau": lambda x: kinds.mirostat_v2(1, x),
        "mirostat_v2 eta": lambda x: kinds.mirostat_v2(1, 5.0, x),
        "adaptive_p target": lambda x: kinds.adaptive_p(x, seed=1),
        "adaptive_p decay": lambda x: kinds.adaptive_p(0.5, x, 1),
        "adaptive_p seed": lambda x: kinds.adaptive_p(0.5, 0.9, x),
        "penalties n_vocab": lambda x: kinds.penalties(x),
        "penalties last_n": lambda x: kinds.penalties(N_VOCAB, x, 1.5),
        "penalties repeat": lambda x: kinds.penalties(N_VOCAB, 64, x),
        "penalties freq": lambda x: kinds.penalties(N_VOCAB, 64, 1.0, x),
        "penalties present": lambda x: kinds.penalties(N_VOCAB, 64, 1.0, 0.0, x),
        "dry multiplier": lambda x: kinds.dry(vocab, x),
        "dry base": lambda x: kinds.dry(vocab, 1.0, x),
        "dry allowed_length": lambda x: kinds.dry(vocab, 1.0, 1.75, x),
        "dry penalty_last_n": lambda x: kinds.dry(vocab, 1.0, 1.75, 2, x),
        "logit_bias n_vocab": lambda x: kinds.logit_bias(x, {3: 1.0}),
        "logit_bias bias": lambda x: kinds.logit_bias(N_VOCAB, {3: x}),
        "infill": lambda x: kinds.infill(vocab),
    }


def rows() -> list[npt.NDArray[Any]]:
    chance = np.random.default_rng(1)
    odd = [np.nan, 0.0, 1.0, -np.inf, np.inf]
    return [
        np.linspace(-5, 5, N_VOCAB),
        np.zeros(N_VOCAB),
        np.array([1.0]),
        *(np.full(N_VOCAB, value) for value in odd),
        chance.normal(size=N_VOCAB) * 1e38,
        chance.choice(odd, N_VOCAB),
    ]


@cases.add
def every_argument_works_or_is_refused(files: Files) -> None:
    candidate_rows = rows()
    for name, make in makers(files.model.vocab).items():
        made = 0
        for number in NUMBERS:
            try:
                sampler = make(number)
            except LlamaError:
                continue
            made += 1
            for row in candidate_rows:
                candidates = Candidates(row)
                sampler.apply(candidates)
                assert 1 <= len(candidates) <= len(row), (name, number)
                if sampler.selects:
                    assert 0 <= candidates.selected < len(candidates), (name, number)
                sampler.accept(3)
                sampler.clone().apply(Candidates(row))
                sampler.reset()
        assert made, name


@cases.add
def biases_of_tokens_that_are_none_are_refused(files: Files) -> None:
    for token in (-1, N_VOCAB, 2**31, 2**40, "x", 1.5, None):
        with pytest.raises(TokenError):
            kinds.logit_bias(N_VOCAB, {token: 1.0})  # type: ignore[dict-item]
    with pytest.raises(InvalidArgumentError, match="bias of token 3"):
        kinds.logit_bias(N_VOCAB, {3: float("nan")})
    kinds.logit_bias(N_VOCAB, {}).apply(Candidates(np.zeros(N_VOCAB)))


@cases.add
def sequence_breakers_that_are_no_texts_are_refused(files: Files) -> None:
    vocab = files.model.vocab
    for bad in ("a\0b", "\ud800", 3, None):
        with pytest.raises(TextError, match="sequence breaker"):
            kinds.dry(vocab, 1.0, seq_breakers=[bad])  # type: ignore[list-item]
    for unusual in ([], [""], ["x" * 10_000], [b"\xff\xfe"], ["\n"] * 1000):
        kinds.dry(vocab, 1.0, seq_breakers=unusual).apply(Candidates(np.zeros(N_VOCAB)))


@cases.add
def samplers_of_a_vocabulary_refuse_candidates_of_another(files: Files) -> None:
    for path in (files.llama, files.bert, files.t5, files.mamba):
        vocab = Model(path).vocab
        for sampler in (
            kinds.dry(vocab, 1.0),
            kinds.infill(vocab),
            kinds.grammar(vocab, 'root ::= "a"'),
            SamplerChain([kinds.infill(vocab), kinds.greedy()]),
        ):
            sampler.apply(Candidates(np.zeros(vocab.n_tokens)))
            sampler.apply(Candidates(np.zeros(20)))
            with pytest.raises(TokenError, match="not in the vocabulary"):
                sampler.apply(Candidates(np.zeros(vocab.n_tokens + 1)))
            for token in (-1, vocab.n_tokens, 2**31 - 1, 2**31, "x", None):
                with pytest.raises(TokenError):
                    sampler.accept(token)  # type: ignore[arg-type]


@cases.add
def sampling_with_the_vocabulary_of_another_model_is_refused(files: Files) -> None:
    context = open_context(files.model)
    decode(context)
    vocab = Model(files.bert).vocab
    for sampler in (kinds.infill(vocab), kinds.grammar(vocab, 'root ::= "a"')):
        with pytest.raises(InvalidArgumentError, match="vocabulary of 428 tokens, but .* 684"):
            SamplerChain([sampler, kinds.greedy()]).sample(context)


@cases.add
def candidates_that_are_no_row_of_numbers_are_refused(files: Files) -> None:
    for bad in ([], [[1.0]], "text", None, ["x"], 5.0, [[1.0], [1.0, 2.0]], object()):
        with pytest.raises(InvalidArgumentError, match="logits must be"):
            Candidates(bad)  # type: ignore[arg-type]
    candidates = Candidates([1.0, 2.0])
    for size in (0, 3, -1, "x", None, 1.5):
        with pytest.raises(InvalidArgumentError, match="size"):
            candidates.truncate(size)  # type: ignore[arg-type]
    for index in (-2, 2, 2**31, "x", None):
        with pytest.raises(InvalidArgumentError, match="selected"):
            candidates.selected = index  # type: ignore[assignment]
    with pytest.raises(InvalidArgumentError, match="no token is selected"):
        _ = candidates.selected_token


@cases.add
def view_of_candidates_outlives_them(files: Files) -> None:
    view = Candidates(np.ones(100_000)).data
    gc.collect()
    assert view["logit"].sum() == 100_000


@cases.add
def chains_that_choose_no_token_are_refused(files: Files) -> None:
    context = open_context(files.model)
    decode(context)
    for members in ([], [kinds.top_k(5)], [kinds.greedy(), kinds.top_k(5), kinds.temp(0.5)][1:]):
        with pytest.raises(InvalidArgumentError, match="end the chain with greedy"):
            SamplerChain(members).sample(context)


@cases.add
def chain_takes_a_sampler_once_and_never_itself(files: Files) -> None:
    chain, sampler = SamplerChain(), kinds.greedy()
    with pytest.raises(InvalidArgumentError, match="member of itself"):
        chain.add(chain)
    chain.add(sampler)
    for other in (chain, SamplerChain()):
        with pytest.raises(ClosedError):
            other.add(sampler)
    outer = SamplerChain([chain])
    with pytest.raises(ClosedError):
        chain.add(outer)
    assert chain.closed
    for index in (-1, 1, 2**31, "x"):
        with pytest.raises((InvalidArgumentError, TypeError)):
            outer.remove(index)  # type: ignore[arg-type]
    inner = outer.remove(0)
    assert isinstance(inner, SamplerChain)
    assert inner.names == ["greedy"]


@cases.add
def sampling_without_logits_is_refused(files: Files) -> None:
    context, chain = open_context(files.model), SamplerChain([kinds.greedy()])
    with pytest.raises(InvalidArgumentError, match="no logits for index -1"):
        chain.sample(context)
    batch = batch_of()
    batch.outputs[:] = 0
    context.decode(batch)
    for index in (-1, 0, 5, 10, 2**31 - 1, -(2**31)):
        with pytest.raises(InvalidArgumentError, match="no logits"):
            chain.sample(context, index)
    context.close()
    with pytest.raises(ClosedError, match="Context is closed"):
        chain.sample(context)


@cases.add
def python_sampler_that_fails_raises_its_error(files: Files) -> None:
    context = open_context(files.model)
    decode(context)

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("from the sampler")

    for chain in (
        SamplerChain([kinds.python(fail), kinds.greedy()]),
        SamplerChain([SamplerChain([kinds.python(fail)]), kinds.greedy()]),
        SamplerChain([kinds.python(lambda _: None, accept=fail), kinds.greedy()]),
    ):
        for tried in (chain, chain.clone()):
            with pytest.raises(ZeroDivisionError, match="from the sampler"):
                tried.sample(context)
    sampler = kinds.python(lambda _: None, reset=fail)
    with pytest.raises(ZeroDivisionError, match="from the sampler"):
        sampler.reset()
    sampler.apply(Candidates(np.zeros(5)))


@cases.add
def python_sampler_cannot_leave_nonsense_behind(files: Files) -> None:
    context = open_context(files.model)
    decode(context)

    changes: list[Callable[[Candidates], Any]] = [len]
    chain = SamplerChain(
        [
            kinds.python(lambda candidates: changes[0](candidates)),
            kinds.dry(files.model.vocab, 1.0),
            kinds.grammar(files.model.vocab, "root ::= .*"),
            kinds.greedy(),
        ]
    )

    def empty(candidates: Candidates) -> None:
        candidates.struct.size = 0

    def enlarge(candidates: Candidates) -> None:
        candidates.struct.size = 10**6

    def select_far(candidates: Candidates) -> None:
        candidates.struct.selected = 10**6

    def select_negative(candidates: Candidates) -> None:
        candidates.struct.selected = -7

    def invent(candidates: Candidates) -> None:
        candidates.data["id"] += 10**8

    def negate(candidates: Candidates) -> None:
        candidates.data["id"] *= -1

    expected = chain.clone().sample(context)
    for change in (empty, enlarge, select_far, select_negative, invent, negate):
        changes[:] = [change]
        with pytest.raises(InvalidArgumentError, match="a sampler "):
            chain.sample(context)
    changes[:] = [len]
    assert chain.sample(context) == expected


@cases.add
def python_sampler_may_write_infinities_and_nan(files: Files) -> None:
    context = open_context(files.model)
    decode(context)

    values = [0.0]

    def spoil(candidates: Candidates) -> None:
        candidates.data["logit"] = values[0]

    for value in (float("nan"), float("inf"), float("-inf")):
        values[:] = [value]
        for last in (kinds.greedy(), kinds.dist(1), kinds.mirostat_v2(1), kinds.adaptive_p(0.5)):
            chain = SamplerChain([kinds.python(spoil), kinds.top_k(40), kinds.top_p(0.9), last])
            assert 0 <= chain.sample(context) < N_VOCAB


@cases.add
def candidates_kept_after_the_callback_are_of_no_use_but_safe(files: Files) -> None:
    context = open_context(files.model)
    decode(context)
    kept: list[Any] = []
    chain = SamplerChain([kinds.python(kept.append), kinds.greedy()])
    views: list[Any] = []
    chain.add(kinds.python(lambda candidates: views.append(candidates.data)))
    chain.add(kinds.greedy())
    chain.sample(context)
    chain.close()
    uses: list[Callable[[Candidates], Any]] = [
        lambda candidates: candidates.data,
        lambda candidates: len(candidates),
        lambda candidates: candidates.selected,
        lambda candidates: candidates.truncate(1),
        lambda candidates: kinds.greedy().apply(candidates),
    ]
    for use in uses:
        with pytest.raises(ClosedError, match="lent to a callback that has returned"):
            use(kept[0])
    views[0]["logit"][:] = 3.0
    assert views[0]["logit"].sum() == 3.0 * N_VOCAB


@pytest.mark.parametrize("name", cases.names)
def test_bad_sampler(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""
