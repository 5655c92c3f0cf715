"""``timings`` and ``return_progress``: llama-server's fields, in results and in streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_kit import GREEDY, PROMPT, complete, open_llama
from zoo import Zoo

from llama_cpp.llama import Llama

FIELDS = {
    "cache_n", "prompt_n", "prompt_ms", "prompt_per_token_ms", "prompt_per_second", "predicted_n",
    "predicted_ms", "predicted_per_token_ms", "predicted_per_second",
}  # fmt: skip
MESSAGES = [{"role": "user", "content": " ".join(["what is the answer"] * 8)}]


@pytest.fixture(scope="module")
def shared(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, n_ubatch=16, n_parallel=2) as model:
        yield model


@pytest.fixture
def llm(shared: Llama) -> Llama:
    for slot in shared.engine.slots:
        shared.engine.sequences.clear(slot)
    return shared


def stream(llm: Llama, **options: Any) -> list[Any]:
    return list(llm(PROMPT, stream=True, **{"max_tokens": 5, **GREEDY, **options}))


def chat_stream(llm: Llama, **options: Any) -> list[Any]:
    return list(
        llm.create_chat_completion(MESSAGES, stream=True, **{"max_tokens": 5, **GREEDY, **options})
    )


def test_nobody_is_told_who_does_not_ask(llm: Llama) -> None:
    answers = [complete(llm, PROMPT), *stream(llm), *chat_stream(llm)]
    assert not any({"timings", "prompt_progress"} & set(each) for each in answers)


def test_tokens_and_times_agree(llm: Llama) -> None:
    times = complete(llm, PROMPT, timings=True)["timings"]
    assert set(times) == FIELDS
    assert (times["cache_n"], times["prompt_n"], times["predicted_n"]) == (0, len(PROMPT), 12)
    assert times["prompt_ms"] > 0 and times["predicted_ms"] > 0
    assert times["prompt_per_token_ms"] * times["prompt_n"] == pytest.approx(times["prompt_ms"])
    assert times["prompt_per_second"] * times["prompt_per_token_ms"] == pytest.approx(1e3)
    # The first token is the last of the prompt.
    assert times["predicted_per_token_ms"] * 11 == pytest.approx(times["predicted_ms"])
    assert times["predicted_per_second"] * times["predicted_per_token_ms"] == pytest.approx(1e3)
    again = complete(llm, PROMPT, timings=True)["timings"]
    assert (again["cache_n"], again["prompt_n"]) == (len(PROMPT) - 1, 1)


def test_nothing_is_divided_by_nothing(llm: Llama) -> None:
    for options in ({"timeout": 0}, {"max_tokens": 0}, {"max_tokens": 1}):
        times = complete(llm, PROMPT, timings=True, **options)["timings"]
        assert times["predicted_per_second"] == times["predicted_per_token_ms"] == 0


def test_of_several_texts_the_sums_are_told(llm: Llama) -> None:
    answer = complete(llm, [PROMPT, PROMPT[:20]], timings=True, max_tokens=5)
    times = answer["timings"]
    assert times["predicted_n"] == 10
    assert times["cache_n"] + times["prompt_n"] == len(PROMPT) + 20


def test_guesses_are_told_where_there_are_some(zoo: Zoo) -> None:
    with open_llama(zoo.llama, draft_model="ngram") as llm:
        times = complete(llm, [*PROMPT, *PROMPT], timings=True, max_tokens=60)["timings"]
        assert set(times) == FIELDS | {"draft_n", "draft_n_accepted"}
        assert 0 <= times["draft_n_accepted"] <= times["draft_n"]


@pytest.mark.parametrize("write", [stream, chat_stream])
@pytest.mark.parametrize("options", [{}, {"n": 2}, {"stream_options": {"include_usage": True}}])
def test_a_stream_tells_it_in_the_last_chunk(llm: Llama, write: Any, options: Any) -> None:
    chunks = write(llm, timings=True, **options)
    assert [set(chunk.get("timings", ())) for chunk in chunks] == [
        *[set()] * (len(chunks) - 1), FIELDS,
    ]  # fmt: skip
    assert chunks[-1]["timings"]["predicted_n"] == 5 * options.get("n", 1)


@pytest.mark.parametrize("write", [stream, chat_stream])
def test_a_stream_tells_it_in_each_chunk(llm: Llama, write: Any) -> None:
    counts = [chunk["timings"]["predicted_n"] for chunk in write(llm, timings_per_token=True)]
    assert counts == sorted(counts) and counts[-1] == 5


def test_a_chat_tells_it_too(llm: Llama) -> None:
    answer: Any = llm.create_chat_completion(MESSAGES, timings=True, max_tokens=3)
    assert answer["timings"]["predicted_n"] == answer["usage"]["completion_tokens"]


@pytest.mark.parametrize("write", [stream, chat_stream])
def test_the_progress_of_a_prompt_comes_before_its_text(llm: Llama, write: Any) -> None:
    plain = write(llm)
    for slot in llm.engine.slots:
        llm.engine.sequences.clear(slot)
    chunks = write(llm, return_progress=True)
    told = [chunk["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk]
    total = told[0]["total"]
    assert total > 32
    assert [each["processed"] for each in told] == [*range(16, total, 16), total]
    assert {each["total"] for each in told} == {total}
    assert {each["cache"] for each in told} == {0}
    times = [each["time_ms"] for each in told]
    assert times == sorted(times)
    without = [chunk["choices"] for chunk in chunks if "prompt_progress" not in chunk]
    assert without == [chunk["choices"] for chunk in plain]
    places = [number for number, chunk in enumerate(chunks) if "prompt_progress" in chunk]
    assert places[-1] - places[0] == len(places) - 1


def test_progress_begins_with_what_is_there(llm: Llama) -> None:
    complete(llm, PROMPT[:30], max_tokens=1)
    told = [
        each["prompt_progress"]
        for each in stream(llm, return_progress=True)
        if "prompt_progress" in each
    ]
    assert {each["cache"] for each in told} == {30}
    assert [each["processed"] for each in told] == [46, 60]
