"""Which turns of a conversation go when it does not fit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.chat.conversation import Conversation
from llama_cpp.chat.overflow import room_for, trimmed, turns_of
from llama_cpp.errors import ContextWindowError

CALL = {"role": "assistant", "tool_calls": [{"id": "a"}]}
RESULT = {"role": "tool", "tool_call_id": "a"}


def said(*roles: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": "x"} for role in roles]


class Rendered:
    """A conversation whose messages have ten tokens each."""

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        self.messages = messages
        self.prompt = [1] * (10 * len(messages))


def rendered(trimming: Any) -> Any:
    return trimming.conversation.messages


def render(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    made: Any = Rendered(messages)
    conversation: Conversation = made
    return conversation


def test_a_turn_goes_from_user_to_user() -> None:
    messages = said("system", "user", "assistant", "user", "assistant", "user")
    assert turns_of(messages) == [[1, 2], [3, 4], [5]]


def test_system_messages_are_in_no_turn_wherever_they_are() -> None:
    messages = said("system", "user", "developer", "assistant", "system", "user")
    assert turns_of(messages) == [[1, 3], [5]]


def test_a_conversation_may_begin_with_the_assistant() -> None:
    assert turns_of(said("assistant", "user", "assistant")) == [[0], [1, 2]]


def test_calls_and_their_results_stay_together() -> None:
    [user] = said("user")
    messages = [user, CALL, RESULT, *said("assistant"), user, CALL, user, RESULT, user]
    assert turns_of(messages) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


@pytest.mark.parametrize(
    ("max_tokens", "room"), [(0, 100), (10, 90), (70, 50), (None, 75), (-1, 75)]
)
def test_room_is_kept_for_the_reply(max_tokens: int | None, room: int) -> None:
    assert room_for(max_tokens, 100) == room


@given(
    st.lists(st.sampled_from(["system", "user", "assistant"]), min_size=1, max_size=20), st.data()
)
def test_no_more_turns_go_than_have_to(roles: list[str], data: st.DataObject) -> None:
    messages = said(*roles)
    room = data.draw(st.integers(0, 10 * len(messages)))
    turns = turns_of(messages)
    result = trimmed(messages, render, room)
    beginnings = [[*itertools.chain(*turns[:n])] for n in range(len(turns) + 1)]
    n_dropped = beginnings.index([*result.dropped])
    assert n_dropped < max(1, len(turns))
    assert not any(messages[index]["role"] == "system" for index in result.dropped)
    left = [each for index, each in enumerate(messages) if index not in result.dropped]
    assert rendered(result) == left
    if n_dropped < len(turns) - 1:
        assert 10 * len(left) <= room
    if n_dropped:
        assert 10 * (len(left) + len(turns[n_dropped - 1])) > room


def test_what_is_too_long_to_be_tokenized_is_trimmed_too() -> None:
    def careful(messages: Sequence[Mapping[str, Any]]) -> Conversation:
        if len(messages) > 2:
            raise ContextWindowError("too long")
        return render(messages)

    result = trimmed(said("user", "assistant", "user", "assistant", "user"), careful, 20)
    assert result.dropped == [0, 1, 2, 3]
    with pytest.raises(ContextWindowError):
        trimmed(
            said("system", "user", "assistant", "user", "user", "system", "assistant"), careful, 20
        )


def test_few_lengths_are_tried() -> None:
    seen: list[int] = []

    def counted(messages: Sequence[Mapping[str, Any]]) -> Conversation:
        seen.append(len(messages))
        return render(messages)

    trimmed(said(*["user"] * 1000), counted, 5000)
    assert len(seen) <= 12
    seen.clear()
    trimmed(said(*["user"] * 1000), counted, 10_000)
    assert seen == [1000]
