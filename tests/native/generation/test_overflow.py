"""``overflow``: what happens where a context is full."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from llama_kit import GREEDY, PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import ContextWindowError, InvalidArgumentError
from llama_cpp.llama import Llama

LONG = " ".join(["what is the answer"] * 10)


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as model:
        yield model


@pytest.fixture(scope="module")
def shifting(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, context_shift=True) as model:
        yield model


def conversation(n_turns: int) -> list[dict[str, str]]:
    turns = [
        {"role": role, "content": f"{number} {LONG}"}
        for number in range(n_turns)
        for role in ("user", "assistant")
    ]
    return [{"role": "system", "content": "word by word"}, *turns, {"role": "user", "content": "a"}]


def test_a_call_shifts_as_the_model_would(llm: Llama, shifting: Llama) -> None:
    expected = text_of(shifting, PROMPT, max_tokens=300)
    llm.reset()
    answer = complete(llm, PROMPT, max_tokens=300, overflow="shift")
    assert answer["choices"][0]["text"] == expected
    assert answer["usage"]["completion_tokens"] == 300


@pytest.mark.parametrize("overflow", [None, "error", "shift"])
def test_the_setting_of_the_model_counts_where_nothing_is_said(
    shifting: Llama, overflow: str | None
) -> None:
    answer = complete(shifting, PROMPT, max_tokens=300, overflow=overflow)
    is_cut = answer["usage"]["total_tokens"] == shifting.n_ctx()
    assert is_cut == (overflow == "error")
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("overflow", [None, "error", "shift"])
def test_a_prompt_that_does_not_fit_is_told_with_its_count(llm: Llama, overflow: Any) -> None:
    with pytest.raises(ContextWindowError) as caught:
        complete(llm, [300] * 300, overflow=overflow)
    assert (caught.value.n_tokens, caught.value.n_ctx) == (300, 256)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.n_tokens, again.n_ctx, str(again)) == (300, 256, str(caught.value))


def test_of_a_text_that_is_not_even_tokenized_the_least_is_told(llm: Llama) -> None:
    text = "the answer " * 10_000
    with pytest.raises(ContextWindowError) as caught:
        complete(llm, text)
    n_tokens = len(llm.tokenize(text.encode(), special=True))
    assert caught.value.n_tokens is not None
    assert 256 < caught.value.n_tokens <= n_tokens
    llm.reset()
    with pytest.raises(ContextWindowError) as caught:
        llm.eval([300] * 300)
    assert (caught.value.n_tokens, caught.value.n_ctx) == (300, 256)


def test_memories_that_cannot_shift_say_so(zoo: Zoo) -> None:
    with open_llama(zoo.mamba) as llm:
        with pytest.raises(InvalidArgumentError, match="shift"):
            complete(llm, PROMPT, overflow="shift")
        assert complete(llm, PROMPT, overflow="error")["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize("overflow", ["truncate", True, 1, ""])
def test_there_is_no_other_way(llm: Llama, overflow: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="overflow"):
        complete(llm, PROMPT, overflow=overflow)


def test_a_completion_has_no_turns_to_drop(llm: Llama) -> None:
    with pytest.raises(InvalidArgumentError, match="conversation"):
        complete(llm, PROMPT, overflow="trim")


def test_a_long_conversation_goes_on_without_its_oldest_turns(llm: Llama) -> None:
    messages = conversation(8)
    with pytest.raises(ContextWindowError):
        llm.create_chat_completion(messages, max_tokens=20)
    options: dict[str, Any] = {"max_tokens": 20, **GREEDY}
    answer: Any = llm.create_chat_completion(messages, overflow="trim", **options)
    dropped = answer["trimmed_messages"]
    assert dropped == list(range(1, 1 + len(dropped))) and len(dropped) % 2 == 0
    left = [messages[0], *messages[1 + len(dropped) :]]
    expected: Any = llm.create_chat_completion(left, **options)
    assert answer["choices"] == expected["choices"]
    assert answer["usage"]["prompt_tokens"] == expected["usage"]["prompt_tokens"] <= 236
    fuller: Any = [messages[0], *messages[len(dropped) - 1 :]]
    with pytest.raises(ContextWindowError):
        llm.create_chat_completion(fuller, max_tokens=20)


def test_a_stream_says_what_was_dropped_in_its_first_chunk(llm: Llama) -> None:
    messages = conversation(8)
    whole: Any = llm.create_chat_completion(messages, overflow="trim", max_tokens=3)
    chunks: list[Any] = list(
        llm.create_chat_completion(messages, overflow="trim", max_tokens=3, stream=True, n=2)
    )
    told = [chunk.get("trimmed_messages") for chunk in chunks]
    assert told == [whole["trimmed_messages"], *[None] * (len(chunks) - 1)]


def test_what_fits_is_left_alone(llm: Llama) -> None:
    answer: Any = llm.create_chat_completion(conversation(1), overflow="trim", max_tokens=3)
    assert answer["trimmed_messages"] == []
    plain: Any = llm.create_chat_completion(conversation(1), max_tokens=3)
    assert "trimmed_messages" not in plain


def test_a_last_turn_that_cannot_fit_is_an_error(llm: Llama) -> None:
    messages = [*conversation(2), {"role": "user", "content": LONG * 8}]
    with pytest.raises(ContextWindowError) as caught:
        llm.create_chat_completion(messages, overflow="trim", max_tokens=3)
    assert caught.value.n_ctx == 256
