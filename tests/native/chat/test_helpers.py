"""Helpers of ``llama_chat_format`` that handlers of other packages are written with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from llama_kit import open_llama

from llama_cpp import llama_chat_format as f
from llama_cpp.errors import GrammarError
from llama_cpp.llama import Llama
from llama_cpp.models import tinychat

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    with open_llama(tinychat(), n_ctx=256) as model:
        yield model


def test_a_completion_becomes_a_chat(llm: Llama) -> None:
    completion = llm("Q: Hi A: ", max_tokens=5, temperature=0)
    chat: Any = f._convert_completion_to_chat(completion)
    [choice] = chat["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": completion["choices"][0]["text"],
    }
    assert choice["finish_reason"] == "length"
    assert chat["usage"] == completion["usage"]
    assert (chat["object"], chat["id"]) == ("chat.completion", f"chat{completion['id']}")
    assert f._convert_text_completion_to_chat(completion) == chat


def test_chunks_become_a_streamed_chat(llm: Llama) -> None:
    text = llm("Q: Hi A: ", max_tokens=5, temperature=0)["choices"][0]["text"]
    parts = llm("Q: Hi A: ", max_tokens=5, temperature=0, stream=True)
    chunks: list[Any] = list(f._convert_completion_to_chat(parts, stream=True))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant"}
    assert "".join(delta.get("content", "") for delta in deltas) == text
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * (len(chunks) - 1) + [
        "length"
    ]


def test_a_completion_becomes_a_call(llm: Llama) -> None:
    grammar = f._grammar_for_json_schema(json.dumps(SCHEMA))
    options: Any = {"grammar": grammar, "max_tokens": 40, "temperature": 0}
    whole: Any = f._convert_completion_to_chat_function("add", llm("x", **options), False)
    [call] = whole["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "add"
    assert isinstance(json.loads(call["function"]["arguments"])["a"], int)
    assert whole["choices"][0]["finish_reason"] == "tool_calls"
    streamed: list[Any] = list(
        f._convert_completion_to_chat_function("add", llm("x", stream=True, **options), True)
    )
    arguments = [
        call["function"]["arguments"]
        for chunk in streamed
        for call in chunk["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert "".join(arguments) == call["function"]["arguments"]
    assert streamed[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert list(f._convert_completion_to_chat_function("add", iter(()), True)) == []


def test_grammars_of_response_formats() -> None:
    assert f._grammar_for_response_format({"type": "text"}) is None
    anything = f._grammar_for_response_format({"type": "json_object"})
    assert anything._grammar == f._grammar_for_json()._grammar
    exact = f._grammar_for_response_format({"type": "json_object", "schema": SCHEMA})
    assert exact._grammar != anything._grammar
    impossible = json.dumps({"type": "strnig"})
    assert f._grammar_for_json_schema(impossible)._grammar == anything._grammar
    with pytest.raises(GrammarError):
        f._grammar_for_json_schema(impossible, fallback=False)


def test_prompts_of_turns() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "tool", "content": "left out"},
    ]
    assert f._get_system_message(messages) == "Be brief."
    assert f._get_system_message(messages[1:]) == ""
    turns = f._map_roles(messages, {"user": "U", "assistant": "A"})
    assert turns == [("U", "Hi"), ("A", "Yes?")]
    asked = [*turns, ("A", None)]
    assert f._format_add_colon_single("S", asked, "\n") == "S\nU: Hi\nA: Yes?\nA:"
    assert f._format_add_colon_two("S", asked, " ", "</s>") == "S U: Hi A: Yes?</s>A:"
    assert f._format_no_colon_single("S", asked, ";") == "SUHi;AYes?;A"
    assert f._format_chatml("S", asked, "#") == "S#\nU\nHi#\nA\nYes?#\nA\n"
    assert f._format_chatml("", [("U", None)], "#") == "U\n"
    assert f._format_llama2("S", asked, " ", "</s>") == "S Hi AYes? </s>A "
    assert f._format_llama2("", [("U", "Hi")], " ", "</s>") == " UHi  "
