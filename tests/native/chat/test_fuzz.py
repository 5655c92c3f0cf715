"""Whatever JSON, text or bytes come in: an answer or one of our errors, and never a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chat_kit import WEATHER, source, templates
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_cpp.chat.messages import checked_messages, reply_form
from llama_cpp.chat.reply import ReplyReader
from llama_cpp.errors import LlamaError
from llama_cpp.handles import ReplyParser
from llama_cpp.handles.chat_templates import ChatTemplates
from llama_cpp.llama_grammar import LlamaGrammar

NAMES = ("tinychat", "openai-gpt-oss-120b", "Qwen3-Coder", "mistralai-Mistral-Nemo-Instruct-2407")
BOUNDED = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANYTHING: Any = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)
ROLE = st.sampled_from(["system", "user", "assistant", "tool", "developer", "x"])
MESSAGE = st.fixed_dictionaries(
    {"role": ROLE | ANYTHING, "content": st.text(max_size=30) | ANYTHING},
    optional=dict.fromkeys(("tool_calls", "name", "reasoning_content", "extra"), ANYTHING),
)
KEYWORDS = st.sampled_from(
    ["type", "properties", "items", "required", "enum", "const", "anyOf", "allOf", "oneOf", "$ref",
     "minimum", "maxLength", "pattern", "format", "additionalProperties", "prefixItems", "$defs"]
)  # fmt: skip
VALUES: Any = st.recursive(
    SCALARS | st.sampled_from(["object", "string", "integer", "#/$defs/a", "^a+$", "date"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=15,
)
MARKS = ["<tool_call>", "</tool_call>", "<think>", "</think>", "<|channel|>", "<|message|>",
         "<function=get_weather>", "[TOOL_CALLS]", '{"name": "get_weather"', "{", "}", '"', "\n",
         "<parameter=city>", "final", "analysis", "<|start|>assistant", "<|end|>"]  # fmt: skip
TEXT = st.lists(st.sampled_from(MARKS) | st.text(max_size=8), max_size=12).map("".join)
JINJA = [
    "{%", "%}", "{{", "}}", " for m in messages ", " endfor ", " if x ", " endif ", "m.content",
    "|tojson", "messages", " set x = ", "'a'", "(", ")", "[", "]", "~", "-", "\n",
]  # fmt: skip
TEMPLATE = st.lists(st.sampled_from(JINJA) | st.text(max_size=4), max_size=25).map("".join)


@pytest.mark.parametrize("name", NAMES)
@BOUNDED
@given(messages=st.lists(MESSAGE, max_size=4), tools=ANYTHING)
def test_templates_take_any_json(name: str, messages: Any, tools: Any) -> None:
    with templates(name) as template:
        for given_tools in (None, tools, [WEATHER]):
            try:
                template.apply(messages, tools=given_tools)
            except LlamaError as error:
                assert str(error)


@BOUNDED
@given(messages=st.lists(MESSAGE, max_size=4) | ANYTHING, tools=ANYTHING, form=ANYTHING)
def test_checks_take_any_json(messages: Any, tools: Any, form: Any) -> None:
    try:
        checked = checked_messages(messages)
        assert all(isinstance(message, dict) for message in checked)
        reply_form(
            tools=tools, tool_choice=form, functions=None, function_call=None,
            parallel_tool_calls=None, response_format=form, grammar=None,
        )  # fmt: skip
    except LlamaError as error:
        assert str(error)


@pytest.mark.parametrize("name", NAMES)
@BOUNDED
@given(reply=TEXT | st.binary(max_size=40))
def test_parsers_take_any_reply(name: str, reply: str | bytes) -> None:
    with templates(name) as template:
        asked = template.apply(
            [{"role": "user", "content": "?"}], tools=[WEATHER], reasoning_format="auto"
        )
    for partial in (False, True):
        with ReplyParser(asked) as parser:
            try:
                message = parser.parse(reply, partial=partial)
                assert message["role"] == "assistant"
            except LlamaError as error:
                assert str(error)
    if isinstance(reply, str):
        whole, streamed = ReplyReader(ReplyParser(asked)), ReplyReader(ReplyParser(asked))
        whole.finish(reply)
        for character in reply:
            streamed.add(character)
        streamed.finish()
        text = json.dumps(whole.message)
        assert ("tool_calls" in text) == ("tool_calls" in json.dumps(streamed.message))


@BOUNDED
@given(schema=st.dictionaries(KEYWORDS, VALUES, max_size=6))
def test_schemas_become_grammars_or_errors(schema: Any) -> None:
    for allow_unsupported in (False, True):
        try:
            LlamaGrammar.from_json_schema(json.dumps(schema), allow_unsupported=allow_unsupported)
        except LlamaError as error:
            assert str(error)


@settings(BOUNDED, max_examples=300)
@given(text=TEMPLATE)
def test_templates_of_any_text(text: str) -> None:
    try:
        with ChatTemplates(text) as template:
            template.apply([{"role": "user", "content": "?"}], tools=[WEATHER])
    except LlamaError as error:
        assert str(error)


@settings(BOUNDED, max_examples=100)
@given(place=st.integers(0, 3000), junk=st.binary(max_size=6))
def test_damaged_templates(place: int, junk: bytes) -> None:
    whole = source("tinychat").encode()
    damaged = whole[:place] + junk + whole[place + len(junk) :]
    try:
        with ChatTemplates(damaged.decode("utf-8", "replace")) as template:
            template.apply([{"role": "user", "content": "?"}], tools=[WEATHER])
    except LlamaError as error:
        assert str(error)
