"""``timeout`` and ``deadline``: what was written by then is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from llama_kit import GREEDY, PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import InvalidArgumentError
from llama_cpp.llama import Llama

MESSAGES = [{"role": "user", "content": "what is the answer"}]


class Clock:
    """What the engine takes for the time."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("llama_cpp.engine.finishing.time", clock)
    return clock


@pytest.fixture
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, n_ubatch=8) as model:
        yield model


def reason_of(answer: Any) -> Any:
    return answer["choices"][0]["finish_reason"]


@pytest.mark.parametrize(
    "limit",
    [
        {"timeout": 0},
        {"deadline": time.time() - 1},
        {"deadline": datetime.now(timezone.utc) - timedelta(seconds=1)},
        {"timeout": 1e6, "deadline": 0},
    ],
    ids=["timeout", "epoch", "datetime", "both"],
)
def test_a_call_whose_time_is_over_writes_nothing(llm: Llama, limit: Any) -> None:
    answer = complete(llm, PROMPT, **limit)
    assert (answer["choices"][0]["text"], reason_of(answer)) == ("", "timeout")
    assert answer["usage"]["completion_tokens"] == 0
    reply: Any = llm.create_chat_completion(MESSAGES, **limit)
    assert (reply["choices"][0]["message"]["content"], reason_of(reply)) == ("", "timeout")


@pytest.mark.parametrize("limit", [{}, {"timeout": None}, {"timeout": 1e6}, {"deadline": 1e15}])
def test_a_call_in_time_ends_as_ever(llm: Llama, limit: Any) -> None:
    assert reason_of(complete(llm, PROMPT, **limit)) == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_written_is_kept(llm: Llama, clock: Clock, stream: bool) -> None:
    whole = text_of(llm, PROMPT, max_tokens=40)
    seen: list[int] = []

    def run_late(ids: Any, scores: Any) -> Any:
        seen.append(len(ids))
        clock.ahead = 1e6 if len(seen) >= 7 else 0.0
        return scores

    options: dict[str, Any] = {"max_tokens": 40, "timeout": 1e5, "logits_processor": run_late}
    if stream:
        chunks: list[Any] = list(llm(PROMPT, stream=True, **options, **GREEDY))
        text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
        reason = reason_of(chunks[-1])
    else:
        answer = complete(llm, PROMPT, **options)
        text, reason = answer["choices"][0]["text"], reason_of(answer)
    assert reason == "timeout"
    assert len(seen) == 7
    assert whole.startswith(text) and 0 < len(text) < len(whole)


def test_a_long_prompt_is_cut_between_steps(llm: Llama, clock: Clock) -> None:
    expected = text_of(llm, PROMPT)
    llm.engine.sequences.clear(llm.engine.slots[0])

    def run_late() -> None:
        clock.ahead = 1e6

    llm.engine.after_step = run_late
    answer = complete(llm, PROMPT, timeout=1e5)
    assert reason_of(answer) == "timeout"
    assert llm.engine.slots[0].n_cached == 8
    llm.engine.after_step = lambda: None
    assert text_of(llm, PROMPT) == expected


def test_waiting_for_a_sequence_counts(llm: Llama) -> None:
    expected = text_of(llm, PROMPT, max_tokens=100)
    chunks: Any = llm(PROMPT, stream=True, max_tokens=100, **GREEDY)
    text = next(chunks)["choices"][0]["text"]
    late: list[Any] = list(llm(PROMPT, stream=True, timeout=0))
    assert [reason_of(chunk) for chunk in late] == ["timeout"]
    assert len(llm.engine) == 1
    assert text + "".join(chunk["choices"][0]["text"] for chunk in chunks) == expected


@pytest.mark.parametrize(
    "limit",
    [
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": "5"},
        {"deadline": "tomorrow"},
        {"deadline": datetime.min},
    ],
)
def test_what_is_no_time_is_refused(llm: Llama, limit: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(limit))):
        complete(llm, PROMPT, **limit)
