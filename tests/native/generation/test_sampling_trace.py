"""``sampling_trace``: what each sampler left, and that looking at it changes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from llama_kit import PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import GrammarError, LlamaError
from llama_cpp.handles.traced_sampling import TRACED_MAX
from llama_cpp.llama import Llama
from llama_cpp.sampling.hooks import BatchLogitsProcessor

OPEN: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
RANDOM: dict[str, Any] = {**OPEN, "temperature": 0.9, "seed": 5, "max_tokens": 20}


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as model:
        yield model


def traced(llm: Llama, **options: Any) -> Any:
    """The only choice of an answer with a trace."""
    return complete(llm, PROMPT, sampling_trace=True, **options)["choices"][0]


def names(stages: Any) -> list[str]:
    return [stage["sampler"] for stage in stages]


def ids(stage: Any) -> list[int]:
    return [each["id"] for each in stage["candidates"]]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"temperature": -1},
        {},
        {"top_k": 40, "top_p": 0.95, "min_p": 0.05},
        {"top_k": 5, "logit_bias": {400: 9.0, 401: -5.0, 402: float("-inf")}},
        {"mirostat_mode": 1},
        {"mirostat_mode": 2},
        {"adaptive_target": 0.1, "adaptive_decay": 0.9},
        {"xtc_probability": 0.5, "xtc_threshold": 0.001, "typical_p": 0.9},
        {"repeat_penalty": 1.3, "frequency_penalty": 0.5, "dry_multiplier": 0.8},
        {"top_n_sigma": 1.5, "dynatemp_range": 0.5},
        {"grammar": "root ::= [a-m ]*"},
        {"regex": "[a-m ]{200}"},
        {"logprobs": 3},
    ],
    ids=lambda options: "+".join(options) or "plain",
)
def test_a_trace_changes_no_choice(llm: Llama, options: dict[str, Any]) -> None:
    options = {**RANDOM, **options}
    plain = complete(llm, PROMPT, **options)
    watched = complete(llm, PROMPT, sampling_trace=True, **options)
    trace = watched["choices"][0].pop("sampling_trace")
    assert watched["choices"] == plain["choices"]
    assert watched["usage"]["completion_tokens"] == len(trace) == 20
    assert llm.detokenize([ids(stages[-1])[0] for stages in trace]).decode(
        "utf-8", "replace"
    ) == plain["choices"][0]["text"]  # fmt: skip


def test_a_stage_has_what_its_sampler_left(llm: Llama) -> None:
    options = {**OPEN, "top_k": 50, "min_p": 0.1, "temperature": 0.5, "ignore_eos": False}
    options["max_tokens"] = 1
    (stages,) = traced(llm, **options)["sampling_trace"]
    assert names(stages) == ["logits", "top-k", "min-p", "temp", "dist"]
    llm.reset()
    llm.eval(PROMPT)
    row = llm.logits().astype(np.float64)
    order = np.argsort(-row, kind="stable")
    kept = [order, order[:50], order[:50][row[order[:50]] >= row.max() + math.log(0.1)]]
    for stage, expected in zip(stages, [*kept, kept[-1]], strict=False):
        scale = 2 if stage["sampler"] == "temp" else 1
        total = np.log(np.exp((row[expected] - row.max()) * scale).sum())
        logprobs = (row[expected] - row.max()) * scale - total
        assert stage["n_candidates"] == len(expected)
        assert ids(stage) == expected[:TRACED_MAX].tolist()
        told = [each["logprob"] for each in stage["candidates"]]
        assert told == pytest.approx(logprobs[:TRACED_MAX].tolist(), abs=1e-4)
    last = stages[-1]
    assert last["n_candidates"] == len(last["candidates"]) == 1
    assert last["candidates"][0]["id"] in kept[-1]
    assert last["candidates"][0]["token"] == llm.detokenize(ids(last)).decode()


def test_biases_and_processors_come_before_all_samplers(llm: Llama) -> None:
    class Only(BatchLogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> None:
            scores[:, :300] = scores[:, 310:] = -np.inf

    bias = {305: 100.0, 306: float("-inf")}
    for processor in (Only(), [Only()]):
        choice = traced(llm, logits_processor=processor, logit_bias=bias, max_tokens=2)
        for stages in choice["sampling_trace"]:
            assert names(stages) == ["logits", "greedy"]
            assert stages[0]["n_candidates"] == 9 and ids(stages[0])[0] == 305
            assert sorted(ids(stages[0])) == [300, 301, 302, 303, 304, 305, 307, 308, 309]


@pytest.mark.parametrize("constraint", [{"grammar": "root ::= [0-9]+"}, {"regex": "[0-9]+"}])
def test_a_constraint_is_a_stage_where_it_refused_a_choice(
    llm: Llama, constraint: dict[str, Any]
) -> None:
    trace = traced(llm, **RANDOM, **constraint)["sampling_trace"]
    refused = [stages for stages in trace if "constraint" in names(stages)]
    assert refused
    for stages in refused:
        assert names(stages) == ["logits", "constraint", "temp", "dist"]
        assert stages[1]["n_candidates"] < stages[0]["n_candidates"]
        texts = [llm.detokenize([token]) for token in ids(stages[1]) if token != llm.token_eos()]
        assert all(set(text) <= set(b"0123456789") for text in texts)


def test_chunks_have_the_trace_of_their_tokens(llm: Llama) -> None:
    whole = traced(llm, logprobs=2, **RANDOM)
    chunks = list(complete(llm, PROMPT, stream=True, sampling_trace=True, logprobs=2, **RANDOM))
    parts = [chunk["choices"][0] for chunk in chunks]
    assert [each for part in parts for each in part.get("sampling_trace", ())] == (
        whole["sampling_trace"]
    )
    for part in parts:
        if part["logprobs"] is not None:
            tokens = [stages[-1]["candidates"][0]["token"] for stages in part["sampling_trace"]]
            assert tokens == part["logprobs"]["tokens"]


def test_texts_that_end_early_have_the_trace_of_what_is_shown(llm: Llama) -> None:
    text = text_of(llm, PROMPT, **RANDOM)
    stopped = traced(llm, stop=[text[20:24]], echo=True, **RANDOM)
    told = [stages[-1]["candidates"][0]["token"] for stages in stopped["sampling_trace"]]
    written = stopped["text"][len(llm.detokenize(PROMPT)) :]
    assert "".join(told)[: len(written)] == written and len(told) < 20


def test_each_choice_of_a_call_has_its_own_trace(llm: Llama) -> None:
    choices = complete(llm, [PROMPT, PROMPT[:9]], n=2, sampling_trace=True, **RANDOM)["choices"]
    for choice in choices:
        told = [ids(stages[-1])[0] for stages in choice["sampling_trace"]]
        assert llm.detokenize(told).decode("utf-8", "replace") == choice["text"]


def test_chats_have_a_trace(llm: Llama) -> None:
    messages = [{"role": "user", "content": "word by word"}]
    options: Any = {"max_tokens": 8, "seed": 3, "ignore_eos": True, "logprobs": True}
    plain = llm.create_chat_completion(messages, **options)
    whole: Any = llm.create_chat_completion(messages, sampling_trace=True, **options)
    chunks: Any = llm.create_chat_completion(messages, sampling_trace=True, stream=True, **options)
    trace = whole["choices"][0].pop("sampling_trace")
    assert whole["choices"][0]["message"] == plain["choices"][0]["message"]
    told = [stages[-1]["candidates"][0]["token"] for stages in trace]
    assert told == [each["token"] for each in whole["choices"][0]["logprobs"]["content"]]
    parts = [chunk["choices"][0] for chunk in chunks]
    assert [each for part in parts for each in part.get("sampling_trace", ())] == trace


def test_without_asking_there_is_no_trace(llm: Llama) -> None:
    assert "sampling_trace" not in complete(llm, PROMPT)["choices"][0]
    chunks = list(complete(llm, PROMPT, stream=True))
    assert all("sampling_trace" not in chunk["choices"][0] for chunk in chunks)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"mirostat_mode": 1}, {**RANDOM}])
@pytest.mark.parametrize("constraint", [{}, {"grammar": 'root ::= "x"'}, {"regex": "x"}])
def test_where_nothing_can_be_chosen_the_error_is_the_same(
    llm: Llama, options: dict[str, Any], constraint: dict[str, Any]
) -> None:
    def forbids_all(_: Any, scores: Any) -> None:
        scores[:] = -np.inf

    kind = GrammarError if constraint else LlamaError
    for trace in (False, True):
        with pytest.raises(kind, match="no token can be sampled") as raised:
            complete(
                llm, PROMPT, logits_processor=forbids_all, sampling_trace=trace,
                **{**options, **constraint},
            )  # fmt: skip
        assert raised.type is kind
    assert len(llm.engine) == 0
