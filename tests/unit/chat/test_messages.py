"""Conversations as callers give them, brought into OpenAI's present form."""

from __future__ import annotations

from typing import Any

import pytest

from llama_cpp.chat.messages import checked_messages
from llama_cpp.errors import InvalidArgumentError

USER = {"role": "user", "content": "How warm is it in Rome and in Oslo?"}


def call(number: int, name: str) -> dict[str, Any]:
    function = {"name": name, "arguments": "{}"}
    return {"id": f"call_{number}x", "type": "function", "function": function}


def calling(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(calls), **more}


def result(name: str, **more: Any) -> dict[str, Any]:
    return {"role": "function", "name": name, "content": "12", **more}


def answered(*messages: dict[str, Any]) -> list[Any]:
    """What the results among the messages are told to answer."""
    checked = checked_messages([USER, *messages])
    return [each.get("tool_call_id") for each in checked if each["role"] == "tool"]


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}])
def test_a_message_of_calls_needs_no_content(content: dict[str, Any]) -> None:
    [_, message] = checked_messages([USER, calling(call(1, "f"), **content)])
    assert message["content"] == ""
    assert message["tool_calls"] == [call(1, "f")]


def test_results_in_the_older_form_answer_calls_that_have_ids() -> None:
    # That is how haystack sends the second turn of its loop.
    assert answered(calling(call(7, "f")), result("f")) == ["call_7x"]
    two = calling(call(1, "f"), call(2, "f"))
    assert answered(two, result("f"), result("f")) == ["call_1x", "call_2x"]
    mixed = calling(call(1, "f"), call(2, "g"))
    assert answered(mixed, result("g"), result("f")) == ["call_2x", "call_1x"]
    assert answered(mixed, result("f"), mixed, result("f")) == ["call_1x", "call_1x"]
    assert answered(calling(call(1, "f")), result("unknown")) == ["call_1x"]


def test_the_older_form_of_both_belongs_together() -> None:
    older = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}
    assert answered(older, result("f")) == ["call_0"]


def test_calls_without_ids_have_results_without_ids() -> None:
    nameless = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert answered(calling(nameless), result("f")) == [None]


def test_results_that_name_their_calls_are_left_alone() -> None:
    tool = {"role": "tool", "content": "12", "tool_call_id": "call_2x"}
    two = calling(call(1, "f"), call(2, "f"))
    assert answered(two, tool, result("f")) == ["call_2x", "call_1x"]
    with pytest.raises(InvalidArgumentError, match="answers the call 'call_2x', but .* 'call_1x'"):
        answered(calling(call(1, "f")), tool)


def test_a_result_without_a_call_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="no message before it calls one"):
        answered(result("f"))
