"""``LlamaSampler`` and ``LlamaSamplingContext`` on a tiny model."""

from __future__ import annotations

import ctypes
import inspect
from typing import Any

import numpy as np
import pytest
from internals_kit import (
    ANSWER,
    byte_token,
    chain,
    generate,
)

import llama_cpp
from llama_cpp import errors
from llama_cpp._internals import (
    CustomSampler,
    LlamaContext,
    LlamaGrammar,
    LlamaModel,
    LlamaSampler,
    LlamaSamplingContext,
    LlamaSamplingParams,
    LlamaTokenDataArray,
)


def steps(model: LlamaModel) -> dict[str, tuple[Any, ...]]:
    n_vocab = model.n_vocab()
    return {
        "top-k": ("top_k", 40),
        "top-p": ("top_p", 0.95),
        "min-p": ("min_p", 0.05),
        "typical": ("typical", 0.9),
        "temp": ("temp", 0.8),
        "temp-ext": ("temp_ext", 0.8, 0.1, 1.0),
        "xtc": ("xtc", 0.5, 0.1, 1, 7),
        "top-n-sigma": ("top_n_sigma", 3.0),
        "penalties": ("penalties", n_vocab, 64, 1.1, 0.1, 0.1),
        "dry": ("dry", model, 0.8, 1.75, 2, -1, ["\n", b":"]),
        "logit-bias": ("logit_bias", n_vocab, {5: 1.0}),
        "infill": ("infill", model),
        "softmax": ("softmax",),
        "grammar": ("grammar", model, LlamaGrammar.from_string("root ::= [^\\x00]*")),
        "custom": ("custom", lambda pointer: None),
        "dist": ("dist", 7),
        "mirostat": ("mirostat", n_vocab, 7, 5.0, 0.1, 100),
        "mirostat-v2": ("mirostat_v2", 7, 5.0, 0.1),
        "greedy": ("greedy",),
    }


def test_every_add_method_adds_its_sampler(ctx: LlamaContext, model: LlamaModel) -> None:
    added = {step[0] for step in steps(model).values()} | {"grammar_lazy_patterns"}
    methods = [name for name, _ in inspect.getmembers(LlamaSampler) if name.startswith("add_")]
    assert sorted(methods) == sorted(f"add_{name}" for name in added)
    for name, step in steps(model).items():
        sampler = chain(step)
        assert [each.lstrip("+-?") for each in sampler.handle.names] == [name]
        sampler.add_dist(3)
        assert generate(ctx, lambda i: sampler.sample(ctx, i), 3)  # noqa: B023


@pytest.mark.parametrize("final", ["dist", "mirostat", "mirostat-v2"])
def test_a_seed_gives_the_same_text(ctx: LlamaContext, model: LlamaModel, final: str) -> None:
    name, *arguments = steps(model)[final]

    def seeded(seed: int) -> LlamaSampler:
        return chain((name, *(seed if value == 7 else value for value in arguments)))

    def text(sampler: LlamaSampler) -> list[int]:
        return generate(ctx, lambda i: sampler.sample(ctx, i), 8)

    sampler = seeded(123)
    assert sampler.get_seed() == 123
    first = text(sampler)
    assert first == text(seeded(123)) != text(seeded(124))
    assert text(sampler) != first
    sampler.reset()
    assert text(sampler) == first
    assert seeded(-1).get_seed() != seeded(-1).get_seed()


def test_a_clone_goes_on_alone(prompted: LlamaContext, model: LlamaModel) -> None:
    calls: list[int] = []
    sampler = chain(
        ("custom", lambda pointer: calls.append(pointer.contents.size)),
        ("penalties", 684, 64, 1.0, 0.0, 50.0),
        ("dist", 9),
    )
    first = [sampler.sample(prompted) for _ in range(3)]
    clone = sampler.clone()
    expected = [sampler.sample(prompted) for _ in range(3)]
    sampler.close()
    assert [clone.sample(prompted) for _ in range(3)] == expected
    assert len({*first, *expected}) == 6
    assert calls == [684] * 9


def test_a_custom_sampler_changes_what_is_chosen(prompted: LlamaContext) -> None:
    def prefer(pointer: Any) -> None:
        for index in range(pointer.contents.size):
            if pointer.contents.data[index].id == 33:
                pointer.contents.data[index].logit = 1000.0

    assert chain(("custom", prefer), ("greedy",)).sample(prompted) == 33


def test_what_a_custom_sampler_raises_reaches_the_caller(prompted: LlamaContext) -> None:
    def fail(pointer: Any) -> None:
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        chain(("custom", fail), ("greedy",)).sample(prompted)
    with pytest.raises(errors.InvalidArgumentError, match="no token is selected"):
        chain(("top_k", 3)).sample(prompted)
    with pytest.raises(errors.InvalidArgumentError, match="index 77"):
        chain(("greedy",)).sample(prompted, 77)


def test_a_custom_sampler_in_a_raw_chain() -> None:
    def apply(pointer: Any) -> None:
        pointer.contents.selected = 5
        if pointer.contents.size < 60:
            raise LookupError("short")

    custom = CustomSampler(apply)
    raw_chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    assert raw_chain is not None
    llama_cpp.llama_sampler_chain_add(raw_chain, custom.get_sampler())
    candidates = LlamaTokenDataArray(n_vocab=60)
    llama_cpp.llama_sampler_apply(raw_chain, ctypes.byref(candidates.candidates))
    assert candidates.candidates.selected == 5
    custom.raise_error()
    candidates.candidates.size = 10
    llama_cpp.llama_sampler_apply(raw_chain, ctypes.byref(candidates.candidates))
    with pytest.raises(LookupError):
        custom.raise_error()
    llama_cpp.llama_sampler_free(raw_chain)


# LlamaSamplingContext


def test_the_defaults_of_the_parameters() -> None:
    params = LlamaSamplingParams()
    assert (params.n_prev, params.top_k, params.top_p, params.min_p) == (64, 40, 0.95, 0.05)
    assert (params.temp, params.mirostat_tau, params.mirostat_eta) == (0.8, 5.0, 0.1)
    assert params.logit_bias is not LlamaSamplingParams().logit_bias


def sampled(ctx: LlamaContext, state: LlamaSamplingContext, n: int, seed: int = 1) -> list[int]:
    def choose(index: int) -> int:
        token = state.sample(ctx, index)
        state.accept(ctx, token, apply_grammar=True)
        return token

    ctx.set_rng_seed(seed)
    return generate(ctx, choose, n)


@pytest.mark.parametrize("mirostat", [0, 1, 2])
def test_a_sampling_context_generates(ctx: LlamaContext, mirostat: int) -> None:
    params = LlamaSamplingParams(mirostat=mirostat, n_probs=3)
    state = LlamaSamplingContext(params)
    assert state.last() is None
    first = sampled(ctx, state, 8)
    assert state.prev == first
    assert state.last() == first[-1]
    assert state.prev_str(ctx, 2) == ctx.model.detokenize(first[-2:]).decode()
    assert state.prev_str(ctx, 0) == ""
    top = [entry.p for entry in state.cur]
    assert len(top) == 3
    assert top == sorted(top, reverse=True)
    state.reset()
    assert (state.prev, state.cur, state.mirostat_mu.value) == ([], [], 10.0)
    assert sampled(ctx, state, 8) == first
    state.reset()
    assert sampled(ctx, state, 8, seed=2) != first


def test_greedy_with_bias_and_penalties(prompted: LlamaContext) -> None:
    row = prompted.handle.logits()
    best, second = np.argsort(-row)[:2].tolist()
    assert LlamaSamplingContext(LlamaSamplingParams(temp=0)).sample(prompted, -1) == best
    biased = LlamaSamplingContext(LlamaSamplingParams(temp=-1, logit_bias={best: -100.0}))
    assert biased.sample(prompted, -1) == second
    params = LlamaSamplingParams(temp=0, penalty_present=100.0, penalty_last_n=-1)
    penalized = LlamaSamplingContext(params, prev=[best])
    assert penalized.sample(prompted, -1) == second
    given = np.zeros(684, np.float32)
    given[300] = 1
    assert penalized.sample(prompted, logits_array=given) == 300
    with pytest.raises(errors.TokenError):
        LlamaSamplingContext(LlamaSamplingParams(logit_bias={684: 1.0})).sample(prompted, -1)
    with pytest.raises(errors.InvalidArgumentError):
        LlamaSamplingContext(LlamaSamplingParams(mirostat=3))


def test_only_so_many_tokens_are_remembered(ctx: LlamaContext) -> None:
    state = LlamaSamplingContext(LlamaSamplingParams(n_prev=2, penalty_last_n=3))
    for token in range(10, 16):
        state.accept(ctx, token, apply_grammar=True)
    assert state.prev == [13, 14, 15]


@pytest.mark.parametrize("given", ["params", "argument"])
@pytest.mark.parametrize("params", [{"temp": 0}, {}, {"mirostat": 1}, {"mirostat": 2}])
def test_a_sampling_context_obeys_its_grammar(
    ctx: LlamaContext, model: LlamaModel, given: str, params: dict[str, Any]
) -> None:
    if given == "params":
        state = LlamaSamplingContext(LlamaSamplingParams(grammar=ANSWER, **params))
    else:
        grammar = LlamaGrammar.from_string(ANSWER)
        state = LlamaSamplingContext(LlamaSamplingParams(**params), grammar=grammar)
    for _ in range(2):
        tokens = sampled(ctx, state, 20)
        assert model.detokenize(tokens) in (b"yes!", b"no!")
        state.reset()
    state.accept(ctx, 500, apply_grammar=False)
    state.accept(ctx, byte_token(model, ord("n")), apply_grammar=True)
    copy = state.cp()
    for each in (state, copy):
        each.accept(ctx, byte_token(model, ord("o")), apply_grammar=True)
        assert each.prev[0] == 500
        with pytest.raises(errors.GrammarError):
            each.accept(ctx, model.token_eos(), apply_grammar=True)
        ruled_out = np.full(684, -np.inf, np.float32)
        with pytest.raises(errors.GrammarError, match="no token"):
            each.sample(ctx, logits_array=ruled_out)
