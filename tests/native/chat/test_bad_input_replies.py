"""Replies, and prompts to read them by, that are damaged or much too deep."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from chat_kit import QUESTION, REPLIES, WEATHER, templates, tool
from isolated import Cases, Files, Outcomes

from llama_cpp.errors import (
    ChatParseError,
    InvalidArgumentError,
    TextError,
)
from llama_cpp.handles.chat_templates import ChatTemplates, ParserText, ReplyParser

cases = Cases(__file__)


@cases.add
def replies_that_nest_deeply_are_read(files: Files) -> None:
    prompt = templates("tinychat").apply(QUESTION, tools=[tool({})], enable_thinking=False)
    begin = '<tool_call>\n{"name": "f", "arguments": {"x": '
    with ReplyParser(prompt) as parser:
        for depth in (100, 5000, 16_000):
            reply = begin + "[" * depth
            message = parser.parse(reply, partial=True)
            assert message["tool_calls"][0]["function"]["arguments"].endswith("[" * depth)
            message = parser.parse(reply + "]" * depth + "}}\n</tool_call>")
            assert message["tool_calls"][0]["function"]["arguments"].endswith("]}")
            assert parser.parse("[" * depth)["content"] == "[" * depth
        for reply in (begin + "[" * 100_000, "{" * 100_000):
            with pytest.raises(InvalidArgumentError, match="levels deep"):
                parser.parse(reply, partial=True)
        flat = "[]{}" * 100_000
        assert parser.parse(flat)["content"] == flat
    begun = [*QUESTION, {"role": "assistant", "content": begin + "[" * 9000}]
    prompt = templates("tinychat").apply(
        begun, tools=[tool({})], continue_final_message=True, enable_thinking=False
    )
    assert ReplyParser(prompt).parse("[" * 5000, partial=True)["tool_calls"]


@cases.add
def replies_that_are_none_are_refused(files: Files) -> None:
    prompt = templates("tinychat").apply(QUESTION, tools=[WEATHER], enable_thinking=False)
    parser = ReplyParser(prompt)
    for bad in (None, 5, ["a"], "\ud800"):
        with pytest.raises(TextError):
            parser.parse(bad)  # type: ignore[arg-type]
    for text in ("<tool_call>\n{}\n</tool_call>", '<tool_call>\n{"name": "g"'):
        with pytest.raises(ChatParseError, match="does not match"):
            parser.parse(text + " and more")


@cases.add
def prompts_that_are_none_are_refused(files: Files) -> None:
    prompt = templates("tinychat").apply(QUESTION)
    plain = str(prompt["parser"])
    endless = json.dumps({"parsers": [{"type": "and", "child": 0}], "rules": {}, "root": 0})
    bad: list[Any] = [
        None, 5, "", {}, {"prompt": "hi"}, plain, {**prompt, "parser": plain},
        {**prompt, "parser": endless}, {**prompt, "parser": None}, {**prompt, "format": "unknown"},
        {**prompt, "format": 5}, {**prompt, "generation_prompt": None},
        {**prompt, "parser": ParserText("no JSON")}, {**prompt, "parser": ParserText("{}")},
    ]  # fmt: skip
    for one in bad:
        with pytest.raises(InvalidArgumentError):
            ReplyParser(one)
        with pytest.raises(InvalidArgumentError):
            ChatTemplates.parse("hi", one)


@cases.add
def damaged_replies_are_read_or_refused(files: Files) -> None:
    chance = random.Random(6)
    parsers = [(reply, ReplyParser(reply.prompt())) for reply in REPLIES]
    worked = refused = 0
    for _ in range(5000):
        reply, parser = chance.choice(parsers)
        text = reply.text.encode()
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(text) + 1)
            end = start + chance.choice((0, 1, 5, 20))
            middle = chance.choice(
                (b"", b"<", b"\xff", b"{", b'"', b"\0", text[start : start + 9] * 3)
            )
            text = text[:start] + middle + text[end:]
        for partial in (True, False):
            try:
                assert parser.parse(text, partial=partial)["role"] == "assistant"
                worked += 1
            except ChatParseError:
                refused += 1
    assert min(worked, refused) > 300


@pytest.mark.parametrize("name", cases.names)
def test_bad_chat_reply(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""
