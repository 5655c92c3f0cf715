"""How tokens are chosen: seeds, the chain of samplers, and what each of them does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from isolated import RunPython
from llama_kit import GREEDY, PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.generation import generator as generation
from llama_cpp.llama import Llama
from llama_cpp.sampling import chain

OPEN: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
"""The distribution of the model, nothing left out."""


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as model:
        yield model


@pytest.fixture(scope="module")
def probabilities(llm: Llama) -> Any:
    """Of the token after ``PROMPT``."""
    llm.reset()
    llm.eval(PROMPT)
    return np.exp(Llama.logits_to_logprobs(llm.logits()).astype(np.float64))


def sampled(llm: Llama, **options: Any) -> str:
    answer: Any = llm(PROMPT, **{"max_tokens": 12, "ignore_eos": True, "seed": 3, **options})
    text: str = answer["choices"][0]["text"]
    return text


def first_tokens(llm: Llama, **options: Any) -> set[int]:
    """What 100 random choices after ``PROMPT`` give."""
    tokens: list[int] = []

    def note(ids: Any, _: Any) -> bool:
        tokens.extend(ids[len(PROMPT) :].tolist())
        return False

    biased = {**OPEN, "seed": 11, "max_tokens": 2, "stopping_criteria": note, **options}
    llm(PROMPT, n=100, ignore_eos=True, **biased)
    return set(tokens)


# Seeds.


def test_a_seed_gives_the_same_text_in_every_process(
    zoo: Zoo, llm: Llama, run_python: RunPython
) -> None:
    code = """
import json, sys
from llama_cpp import Llama
llm = Llama(sys.argv[1], n_ctx=256, n_threads=1, n_threads_batch=1, flash_attn=False, verbose=False)
options = json.loads(sys.argv[2])
print(json.dumps([llm(list(range(300, 360)), seed=5, **options)["choices"][0]["text"]] * 1))
"""
    options = {"temperature": 1.3, "top_k": 0, "max_tokens": 30, "ignore_eos": True}
    here = sampled(llm, seed=5, **options)
    assert sampled(llm, seed=5, **options) == here
    assert sampled(llm, seed=6, **options) != here
    for _ in range(2):
        assert json.loads(run_python(code, zoo.llama, json.dumps(options)).stdout) == [here]


@pytest.mark.parametrize("seed", [None, -1, 2**32 - 1])
def test_without_a_seed_every_call_differs(llm: Llama, seed: int | None) -> None:
    texts = {sampled(llm, seed=seed, **OPEN) for _ in range(4)}
    assert len(texts) == 4


def test_setting_the_seed_begins_the_same_row_of_texts_again(llm: Llama) -> None:
    def row(seed: int) -> list[str]:
        llm.set_seed(seed)
        return [sampled(llm, seed=None, **OPEN) for _ in range(3)]

    first = row(5)
    assert len(set(first)) == 3
    assert row(5) == first
    assert row(6) != first
    llm.set_seed(-1)


@pytest.mark.parametrize("temperature", [-1, -0.01])
def test_a_negative_temperature_draws_from_the_plain_probabilities(
    llm: Llama, temperature: float
) -> None:
    cuts: dict[str, Any] = {"top_k": 1, "top_p": 0.1, "min_p": 0.9}
    assert sampled(llm, temperature=temperature, **cuts) == sampled(llm, **OPEN)
    assert sampled(llm, temperature=temperature, **cuts) != sampled(llm, temperature=1.0, **cuts)


def test_a_stream_draws_what_the_whole_draws(llm: Llama) -> None:
    chunks: Any = llm(PROMPT, max_tokens=12, ignore_eos=True, seed=3, stream=True, **OPEN)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == sampled(llm, **OPEN)


# The chain.

CHAINS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["top-k", "top-p", "min-p", "temp", "dist"]),
    (OPEN, ["dist"]),
    ({"temperature": 0}, ["greedy"]),
    ({"temperature": 0, "top_k": 5, "repeat_penalty": 1.1}, ["penalties", "greedy"]),
    ({"temperature": -1}, ["dist"]),
    ({"temperature": -1, "mirostat_mode": 2, "repeat_penalty": 1.1}, ["penalties", "dist"]),
    ({"temperature": -1, "adaptive_target": 0.3, "dynatemp_range": 0.5}, ["dist"]),
    ({**OPEN, "temperature": 0.5}, ["temp", "dist"]),
    ({**OPEN, "dynatemp_range": 0.5}, ["temp-ext", "dist"]),
    ({**OPEN, "top_k": 10**6}, ["dist"]),
    ({**OPEN, "typical_p": 0.5}, ["min-p", "typical", "dist"]),
    ({**OPEN, "top_n_sigma": 1.0}, ["top-n-sigma", "dist"]),
    ({**OPEN, "xtc_probability": 0.5}, ["xtc", "dist"]),
    ({**OPEN, "xtc_probability": 0.5, "xtc_threshold": 0.6}, ["dist"]),
    ({**OPEN, "dry_multiplier": 0.8}, ["dry", "dist"]),
    ({**OPEN, "dry_multiplier": 0.8, "dry_penalty_last_n": 0}, ["dist"]),
    ({**OPEN, "repeat_penalty": 1.1}, ["penalties", "dist"]),
    ({**OPEN, "frequency_penalty": 0.1}, ["penalties", "dist"]),
    ({**OPEN, "presence_penalty": -0.1}, ["penalties", "dist"]),
    ({**OPEN, "presence_penalty": 0.1, "penalty_last_n": 0}, ["dist"]),
    ({**OPEN, "adaptive_target": 0.3}, ["adaptive-p"]),
    ({"mirostat_mode": 1}, ["temp", "mirostat"]),
    ({"mirostat_mode": 2, "presence_penalty": 1}, ["penalties", "temp", "mirostat-v2"]),
    (
        {
            "repeat_penalty": 1.1, "dry_multiplier": 0.8, "top_n_sigma": 1.0, "typical_p": 0.5,
            "xtc_probability": 0.5,
        },
        [
            "penalties", "dry", "top-n-sigma", "top-k", "min-p", "typical", "top-p", "min-p",
            "xtc", "temp", "dist",
        ],
    ),
    ({"samplers": ["temperature", "min_p", "top_k"]}, ["temp", "min-p", "top-k", "dist"]),
    ({"samplers": ["top_k", "infill"]}, ["top-k", "infill", "dist"]),
    ({"samplers": [], "repeat_penalty": 1.1}, ["dist"]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "names"), CHAINS)
def test_the_native_chain_has_what_was_asked_for_in_that_order(
    llm: Llama, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], names: list[str]
) -> None:
    made: list[list[str]] = []

    def spy(*args: Any, **kwargs: Any) -> Any:
        sampler = chain.token_sampler(*args, **kwargs)
        made.append(sampler.chain.names)
        return sampler

    monkeypatch.setattr(generation, "token_sampler", spy)
    llm(PROMPT, max_tokens=2, **options)
    llm.create_chat_completion(
        [{"role": "user", "content": "the"}], max_tokens=2, **{"temperature": 0.8, **options}
    )
    assert made == [names, names]


@pytest.mark.parametrize(("options", "names"), [each for each in CHAINS if "infill" not in each[1]])
def test_every_chain_draws_the_same_from_the_same_seed(
    llm: Llama, options: dict[str, Any], names: list[str]
) -> None:
    first = sampled(llm, **options)
    assert first
    assert sampled(llm, **options) == first
    assert (sampled(llm, **{**options, "seed": 4}) == first) is ("greedy" in names)


# What the samplers do.


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1e-6}, {"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"top_n_sigma": 1e-6},
        {"mirostat_mode": 1, "mirostat_tau": 0.0}, {"mirostat_mode": 2, "mirostat_tau": 0.0},
    ],
    ids=str,
)  # fmt: skip
def test_at_its_strictest_a_sampler_leaves_the_likeliest_token(
    llm: Llama, options: dict[str, Any]
) -> None:
    assert sampled(llm, **{**OPEN, **options}) == text_of(llm, PROMPT)


def test_truncation_leaves_what_its_definition_says(llm: Llama, probabilities: Any) -> None:
    p = probabilities
    order = np.argsort(-p)
    log = np.log(p)
    before = np.cumsum(p[order]) - p[order]  # what stands above each, from the likeliest on
    surprise = np.argsort(np.abs(-log - (-(p * log).sum())))
    before_typical = np.cumsum(p[surprise]) - p[surprise]
    top = order[p[order] > 0.008]
    allowed = {
        ("top_k", 5): order[:5],
        ("top_p", 0.2): order[before < 0.2],
        ("min_p", 0.5): order[p[order] >= 0.5 * p.max()],
        ("typical_p", 0.02): surprise[before_typical < 0.02],
        ("top_n_sigma", 1.0): order[log[order] > log.max() - log.std()],
        ("xtc_probability", 1.0): order[len(top) - 1 :],
    }
    for (name, value), tokens in allowed.items():
        drawn = first_tokens(llm, **{name: value}, xtc_threshold=0.008)
        assert drawn <= set(tokens.tolist()), name
        assert len(drawn) >= min(5, len(tokens)), name
    everything = first_tokens(llm)
    assert all(not everything <= set(tokens.tolist()) for tokens in allowed.values())


def test_min_keep_is_a_floor(llm: Llama, probabilities: Any) -> None:
    best = set(np.argsort(-probabilities)[:7].tolist())
    for strict in ({"top_p": 0.0}, {"min_p": 1.0}):
        assert first_tokens(llm, min_keep=7, **strict) == best


def test_the_temperature_shifts_the_odds(llm: Llama, probabilities: Any) -> None:
    def share_of_the_best(**options: Any) -> int:
        best = int(probabilities.argmax())
        return sum(
            sampled(llm, **{**OPEN, **options, "max_tokens": 1, "seed": seed})
            == llm.detokenize([best]).decode()
            for seed in range(60)
        )

    assert share_of_the_best(temperature=0.2) > 10 + share_of_the_best()
    # The entropy here is near its maximum, so that the temperature is near the upper end.
    assert share_of_the_best(temperature=0.6, dynatemp_range=0.5) < 10
    assert share_of_the_best(temperature=0.6, dynatemp_range=0.5, dynatemp_exponent=30.0) > 10


@pytest.mark.parametrize("penalty", ["presence_penalty", "frequency_penalty", "repeat_penalty"])
def test_a_penalty_keeps_tokens_from_coming_again(llm: Llama, penalty: str) -> None:
    ids: list[int] = []

    def note(tokens: Any, _: Any) -> None:
        ids[:] = tokens.tolist()

    complete(llm, PROMPT, max_tokens=30, **{penalty: 1e4}, logits_processor=[note])
    if penalty == "repeat_penalty":
        # It divides: a negative logit becomes more so, a positive one nearly nothing.
        assert len(set(ids[len(PROMPT) :])) > 15
    else:
        assert len(set(ids)) == len(ids)


def test_dry_ends_a_repetition_but_for_its_breakers(llm: Llama) -> None:
    pattern = llm.tokenize(b"one time water people number", add_bos=False)
    assert len(pattern) == 5
    again: dict[str, Any] = {"max_tokens": 1, "logit_bias": {pattern[3]: 12.0}}
    prompt = [*pattern, *pattern, *pattern[:3]]
    repeated = llm.detokenize([pattern[3]]).decode()
    assert text_of(llm, prompt, **again) == repeated
    dry = {"dry_multiplier": 50.0, "dry_allowed_length": 2, "dry_base": 1.1}
    assert text_of(llm, prompt, **again, **dry) != repeated
    assert text_of(llm, prompt, **again, **{**dry, "dry_allowed_length": 30}) == repeated
    assert text_of(llm, prompt, **again, **dry, dry_penalty_last_n=4) == repeated
    assert text_of(llm, prompt, **again, **dry, dry_sequence_breakers=["water"]) == repeated


def test_mirostat_keeps_the_surprise_near_its_target(llm: Llama) -> None:
    def surprise(mode: int, tau: float) -> float:
        answer: Any = llm(
            PROMPT, max_tokens=150, seed=1, logprobs=0, ignore_eos=True, temperature=1.0,
            mirostat_mode=mode, mirostat_tau=tau, mirostat_eta=0.2,
        )  # fmt: skip
        logprobs = answer["choices"][0]["logprobs"]["token_logprobs"]
        return float(-np.mean(logprobs[50:]) / np.log(2))

    for mode in (1, 2):
        low, middle, high = (surprise(mode, tau) for tau in (1.0, 4.0, 8.0))
        assert low < middle < high


def test_adaptive_p_steers_to_its_target(llm: Llama) -> None:
    def mean_probability(target: float) -> float:
        answer: Any = llm(
            PROMPT, max_tokens=100, seed=1, logprobs=0, ignore_eos=True, temperature=0.3,
            top_k=0, min_p=0.0, top_p=1.0, adaptive_target=target,
        )  # fmt: skip
        return float(np.exp(answer["choices"][0]["logprobs"]["token_logprobs"]).mean())

    assert mean_probability(0.9) > 1.5 * mean_probability(0.01)


def test_infill_samples_between_a_prefix_and_a_suffix(llm: Llama) -> None:
    options: dict[str, Any] = {"samplers": ["top_k", "top_p", "infill"], "seed": 1}
    first = text_of(llm, "once upon", suffix="time", temperature=0.8, **options)
    assert text_of(llm, "once upon", suffix="time", temperature=0.8, **options) == first


def test_the_order_of_samplers_counts(llm: Llama) -> None:
    # A flat distribution loses what min-p would keep.
    cold = {"temperature": 0.05, "top_k": 0, "top_p": 1.0, "min_p": 0.3}
    assert len(first_tokens(llm, **cold, samplers=["temperature", "min_p"])) < len(
        first_tokens(llm, **{**cold, "temperature": 5.0}, samplers=["temperature", "min_p"])
    )
    hot = {**cold, "temperature": 5.0}
    assert len(first_tokens(llm, **hot, samplers=["min_p", "temperature"])) < len(
        first_tokens(llm, **hot, samplers=["temperature", "min_p"])
    )


def test_tail_free_sampling_is_accepted_and_does_nothing(llm: Llama) -> None:
    assert sampled(llm, tfs_z=0.1) == sampled(llm)


def test_ends_are_forbidden_when_they_are_to_be_ignored(llm: Llama) -> None:
    ends = {llm.token_eos(): 100.0}
    ended: Any = llm(PROMPT, temperature=0, logit_bias=ends)
    assert ended["choices"][0]["text"] == ""
    assert ended["choices"][0]["finish_reason"] == "stop"
    assert ended["usage"]["completion_tokens"] == 0
    assert text_of(llm, PROMPT, logit_bias=ends) == text_of(llm, PROMPT)
    assert GREEDY["ignore_eos"]


def test_a_negative_temperature_draws_from_the_plain_softmax(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        llm.reset()
        llm.eval(PROMPT)
        logits = llm.logits()
        odds = np.exp(logits - logits.max())
        best = np.argsort(-odds)[:3]
        n, counts = 400, dict.fromkeys(best.tolist(), 0)
        for seed in range(n):
            # top_k=1 would leave one token, and is without effect.
            answer = llm(PROMPT, max_tokens=1, temperature=-1, top_k=1, seed=seed, logprobs=0)
            [name] = answer["choices"][0]["logprobs"]["tokens"] or [""]  # type: ignore[index]
            for token in counts:
                counts[token] += (
                    llm.detokenize([token], special=True).decode("utf-8", "replace") == name
                )
        drawn = sum(counts.values()) / n
        expected = float(odds[best].sum() / odds.sum())
        assert abs(drawn - expected) < 0.12 and drawn < 0.9


@pytest.mark.parametrize("stop", ["", [""], ["", "never there"], None, []])
def test_an_empty_stop_is_none(zoo: Zoo, stop: Any) -> None:
    with open_llama(zoo.llama) as llm:
        expected = text_of(llm, PROMPT, max_tokens=8)
        assert text_of(llm, PROMPT, max_tokens=8, stop=stop) == expected
