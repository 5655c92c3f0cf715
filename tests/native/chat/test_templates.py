"""Chat templates and the parsers of replies that the engine makes of them."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from chat_kit import (
    ARGUMENTS,
    OF_THE_ENGINE,
    QUESTION,
    REPLIES,
    WEATHER,
    Reply,
    calls_of,
    source,
    templates,
    user,
)

from llama_cpp.errors import ChatParseError, ChatTemplateError, ClosedError
from llama_cpp.handles.chat_templates import ChatTemplates, ReplyParser
from llama_cpp.handles.model import Model
from llama_cpp.handles.sampler_kinds import grammar, grammar_lazy
from tools.tinychat import chat as tinychat

ALL = sorted(path.stem for path in OF_THE_ENGINE.glob("*.jinja"))
SCHEMA = {"type": "object", "properties": {"sky": {"enum": ["blue"]}}, "required": ["sky"]}


@pytest.mark.parametrize("reply", REPLIES, ids=str)
def test_a_reply_becomes_a_message(reply: Reply) -> None:
    message = ReplyParser(reply.prompt()).parse(reply.text)
    assert message["role"] == "assistant"
    assert message["content"] == reply.content
    assert message.get("reasoning_content", "").strip() == reply.thought
    assert calls_of(message) == [("get_weather", ARGUMENTS)] * reply.calls


@pytest.mark.parametrize("reply", REPLIES, ids=str)
def test_what_there_is_of_a_reply_grows(reply: Reply) -> None:
    """Character by character, and byte by byte within a character."""
    prompt, text = reply.prompt(), reply.text.encode()
    seen: list[list[str]] = [[""]]
    with ReplyParser(prompt) as parser:
        for end in range(len(text) + 1):
            message = parser.parse(text[:end], partial=True)
            functions = [call["function"] for call in message.get("tool_calls", [])]
            parts = [message["content"], message.get("reasoning_content", "")]
            parts += [text for function in functions for text in function.values()]
            assert len(parts) >= len(seen[-1])
            assert all(new.startswith(old) for old, new in zip(seen[-1], parts, strict=False))
            seen.append(parts)
        whole = parser.parse(text)
    assert len(seen) > 5
    assert seen[-1][0] == whole["content"]
    assert calls_of(whole) == [(seen[-1][2 + 2 * i], ARGUMENTS) for i in range(reply.calls)]


@pytest.mark.parametrize("name", ALL)
def test_every_template_of_the_engine(name: str, model: Model) -> None:
    with templates(name) as template:
        assert template.describe()["source"].strip()
        tools = [WEATHER] if template.describe()["caps"]["supports_tools"] else None
        prompt = template.apply(QUESTION, tools=tools, reasoning_format="auto")
    assert QUESTION[0]["content"] in prompt["prompt"]
    assert prompt["prompt"].endswith(prompt["generation_prompt"])
    if prompt["grammar"]:
        patterns = [trigger["value"] for trigger in prompt["grammar_triggers"]]
        assert bool(patterns) == prompt["grammar_lazy"]
        grammar(model.vocab, prompt["grammar"]).close()
    if prompt["format"] != "peg-native":
        assert prompt["format"] in {"peg-gemma4", "peg-minimax-m3"}
    ReplyParser(prompt).close()


ALL_TOOLS = "tools tool_calls parallel_tool_calls system_role"


@pytest.mark.parametrize(
    ("name", "thinking", "expected"),
    [
        ("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", False, ALL_TOOLS),
        ("Qwen-Qwen2.5-7B-Instruct", False, ALL_TOOLS),
        ("Qwen-Qwen3-0.6B", True, ALL_TOOLS),
        ("meta-llama-Llama-3.1-8B-Instruct", False, "tools tool_calls system_role"),
        ("mistralai-Mistral-Nemo-Instruct-2407", False, ALL_TOOLS),
        ("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", True, "system_role"),
        ("google-gemma-2-2b-it", False, ""),
        ("openai-gpt-oss-120b", True, "tools tool_calls system_role reasoning_effort"),
        ("tinychat", True, ALL_TOOLS),
    ],
)
def test_what_templates_can_do(name: str, thinking: bool, expected: str) -> None:
    description = templates(name).describe()
    asked = ("tools", "tool_calls", "parallel_tool_calls", "system_role", "reasoning_effort")
    able = [what for what in asked if description["caps"][f"supports_{what}"]]
    assert (description["supports_thinking"], able) == (thinking, expected.split())


def test_the_source_is_told() -> None:
    assert templates("tinychat").describe()["source"] == source("tinychat").removesuffix("\n")


def test_how_tools_may_be_called(model: Model) -> None:
    template = templates("Qwen-Qwen2.5-7B-Instruct")
    auto = template.apply(QUESTION, tools=[WEATHER])
    assert auto["grammar_lazy"]
    assert auto["grammar_triggers"] == [{"type": "word", "value": "<tool_call>\n"}]
    assert "<tool_call>" in auto["preserved_tokens"]
    grammar_lazy(model.vocab, auto["grammar"], trigger_patterns=["<tool_call>"]).close()

    required = template.apply(QUESTION, tools=[WEATHER], tool_choice="required")
    assert (required["grammar_lazy"], required["grammar_triggers"]) == (False, [])
    assert "get_weather" in required["grammar"]

    none = template.apply(QUESTION, tools=[WEATHER], tool_choice="none")
    assert none["grammar"] == ""
    call = REPLIES[1].text
    assert ReplyParser(none).parse(call)["content"] == call

    one, several = (
        template.apply(QUESTION, tools=[WEATHER], parallel_tool_calls=parallel)["grammar"]
        for parallel in (False, True)
    )
    assert one != several


def test_a_reply_by_a_schema(model: Model) -> None:
    prompt = templates("tinychat").apply(QUESTION, json_schema=SCHEMA, enable_thinking=False)
    assert not prompt["grammar_lazy"]
    grammar(model.vocab, prompt["grammar"]).close()
    assert ReplyParser(prompt).parse('{"sky": "blue"}')["content"] == '{"sky": "blue"}'
    with pytest.raises(ChatParseError, match="does not match"):
        ReplyParser(prompt).parse("The sky is blue.")


def test_a_grammar_comes_out_as_it_is() -> None:
    template, rules = templates("tinychat"), "root ::= [a-z]+"
    prompt = template.apply(QUESTION, grammar=rules)
    assert {**prompt, "grammar": ""} == template.apply(QUESTION)
    assert (prompt["grammar"], prompt["grammar_lazy"]) == (rules, False)


def test_who_takes_thoughts_out_of_the_content() -> None:
    template, reply = templates("tinychat"), "Hm.\n</think>\n\nRain."
    kept = ReplyParser(template.apply(QUESTION, reasoning_format="none")).parse(reply)
    assert kept["content"] == f"<think>\n{reply}"
    for name in ("auto", "deepseek", "deepseek-legacy"):
        taken = ReplyParser(template.apply(QUESTION, reasoning_format=name)).parse(reply)
        assert (taken["content"], taken["reasoning_content"]) == ("Rain.", "Hm.\n")
    pure = template.apply(QUESTION, reasoning_format="auto", force_pure_content=True)
    assert ReplyParser(pure).parse(reply)["content"] == reply


@pytest.mark.parametrize("thinking", [False, True])
def test_thinking_is_asked_for_in_two_ways(thinking: bool) -> None:
    template = templates("tinychat")
    by_option = template.apply(QUESTION, enable_thinking=thinking)
    by_argument = template.apply(QUESTION, chat_template_kwargs={"enable_thinking": thinking})
    assert by_option == by_argument
    assert by_option["prompt"].endswith("<think>\n") == thinking


def test_variables_for_the_template() -> None:
    llama = templates("meta-llama-Llama-3.1-8B-Instruct")
    assert "Today Date: 06 Jan 2001" in llama.apply(QUESTION, now=978_800_000)["prompt"]
    told = llama.apply(QUESTION, now=978_800_000, chat_template_kwargs={"date_string": "today"})
    assert "Today Date: today" in told["prompt"]
    gpt = templates("openai-gpt-oss-120b")
    high = gpt.apply(QUESTION, chat_template_kwargs={"reasoning_effort": "high"})
    assert "Reasoning: high" in high["prompt"]


def test_how_the_prompt_begins_and_ends() -> None:
    llama = templates("meta-llama-Llama-3.1-8B-Instruct")
    assert llama.apply(QUESTION)["prompt"].startswith("<s><|start_header_id|>")
    assert llama.apply(QUESTION, add_bos=True)["prompt"].startswith("<|start_header_id|>")

    ends = ChatTemplates("{{ messages[0].content }}{{ eos_token }}", eos="</s>")
    assert ends.apply(QUESTION)["prompt"].endswith("?</s>")
    assert ends.apply(QUESTION, add_eos=True)["prompt"].endswith("?")

    tinychat = templates("tinychat")
    assert tinychat.apply(QUESTION, add_generation_prompt=False)["prompt"].endswith("<|im_end|>\n")
    begun = [*QUESTION, {"role": "assistant", "content": "It will"}]
    for how in (True, "content"):
        prompt = tinychat.apply(begun, continue_final_message=how, enable_thinking=False)
        assert prompt["prompt"].endswith("It will")


def test_unusual_texts_arrive() -> None:
    template = templates("tinychat")
    for text in ("a\0b", "\u2028\x7f\x01", "{{ x }}{% if %}", "😀" * 1000, "<|im_end|>"):
        assert text in template.apply([user(text)])["prompt"]
    parser = ReplyParser(template.apply(QUESTION, enable_thinking=False))
    assert parser.parse("a\0b")["content"] == "a\0b"
    assert parser.parse(b"a\xff\xfeb")["content"] == "a\ufffd\ufffdb"
    assert parser.parse("ä".encode()[:1], partial=True)["content"] == ""


def test_a_prompt_is_data() -> None:
    """It can be kept and sent as JSON, but for the parser."""
    prompt = templates("tinychat").apply(QUESTION)
    again = {**json.loads(json.dumps(prompt)), "parser": prompt["parser"]}
    assert again == prompt
    assert ChatTemplates.parse("Rain.", again) == ReplyParser(prompt).parse("Rain.")


def test_threads_share_the_handles() -> None:
    template, call = templates("tinychat"), REPLIES[1].text
    prompt = template.apply(QUESTION, tools=[WEATHER], enable_thinking=False)
    parser, results = ReplyParser(prompt), list[Any]()

    def work() -> None:
        for _ in range(20):
            again = template.apply(QUESTION, tools=[WEATHER], enable_thinking=False)
            results.append((again == prompt, calls_of(parser.parse(call))))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(True, [("get_weather", ARGUMENTS)])] * 80


def test_closed_handles_are_refused() -> None:
    template = templates("tinychat")
    parser = ReplyParser(template.apply(QUESTION))
    template.close()
    assert parser.parse("Hm.", partial=True)["role"] == "assistant"
    parser.close()
    for use in (
        template.describe,
        lambda: template.apply(QUESTION),
        lambda: parser.parse("Hm."),
    ):
        with pytest.raises(ClosedError):
            use()


def test_a_template_may_refuse_a_conversation() -> None:
    gemma = templates("google-gemma-2-2b-it")
    twice = [*QUESTION, *QUESTION]
    with pytest.raises(ChatTemplateError, match="Conversation roles must alternate"):
        gemma.apply(twice)
    assert gemma.apply(QUESTION)["prompt"]


# tools/tinychat/template.jinja


TEXTS = (
    "Hi",
    "",
    "two\nlines\n",
    " <b>&'\"\\ \t",
    "日本語 😀 é",
    "{{ x }} {% if %}",
    "</think>",
    "\x7f",
)
VALUES: tuple[Any, ...] = (
    1, -2, 1.5, 123456789012345678, True, None, 'a"b\\\n', "é\u2028\x01", [], {},
    [1, [2, {"k": "v"}]], {"z": 1, "a": {"y": [True, False]}},
)  # fmt: skip


class Conversations:
    """Random ones, of every shape that the template is made for."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def call(self, index: int) -> dict[str, Any]:
        keys = self.random.sample(["a", "items", "ké"], self.random.randint(0, 3))
        arguments: Any = {key: self.random.choice(VALUES) for key in keys}
        if self.chance(0.3):
            arguments = json.dumps(arguments, ensure_ascii=False)
        name = self.random.choice(["f", "get_weather", 'ü"x'])
        function = {"name": name, "arguments": arguments}
        return {"id": f"call_{index}", "type": "function", "function": function}

    def tool(self) -> dict[str, Any]:
        function: dict[str, Any] = {"name": self.random.choice(["f", "get_weather"])}
        if self.chance(0.7):
            function["description"] = self.random.choice(TEXTS)
        if self.chance(0.8):
            function["parameters"] = self.random.choice(
                [WEATHER["function"]["parameters"], {"type": "object", "properties": {}}, {}]
            )
        return {"type": "function", "function": function}

    def reply(self, calls: int) -> list[dict[str, Any]]:
        message: dict[str, Any] = {"role": "assistant", "content": self.random.choice(TEXTS)}
        if calls:
            message["tool_calls"] = [self.call(index) for index in range(calls)]
            message["content"] = self.random.choice([message["content"], None])
            if self.chance(0.3):
                del message["content"]
        if self.chance(0.5):
            message["reasoning_content"] = self.random.choice(TEXTS)
        results = [
            {"role": "tool", "tool_call_id": f"call_{index}", "content": self.random.choice(TEXTS)}
            for index in range(calls)
        ]
        return [message, *results]

    def messages(self) -> list[dict[str, Any]]:
        messages = [{"role": "system", "content": self.random.choice(TEXTS)}] * self.chance(0.4)
        for _ in range(self.random.randint(1, 4)):
            messages.append(user(self.random.choice(TEXTS)))
            for _ in range(self.random.randint(0, 2)):
                messages += self.reply(calls=self.random.randint(0, 3))
        return messages


@pytest.mark.parametrize("seed", range(10))
def test_tinychat_reads_the_same_in_jinja(seed: int) -> None:
    render, template, shapes = (
        tinychat.template().render,
        templates("tinychat"),
        Conversations(seed),
    )
    for _ in range(10):
        messages, ask, think = shapes.messages(), shapes.chance(0.6), shapes.chance(0.5)
        tools = [shapes.tool() for _ in range(shapes.random.randint(0, 3))] or None
        expected = render(
            messages=messages, tools=tools, add_generation_prompt=ask, enable_thinking=think
        )
        rendered = template.apply(
            messages, tools=tools, add_generation_prompt=ask, enable_thinking=think
        )
        assert rendered["prompt"] == expected


def test_tinychat_does_not_think_unasked() -> None:
    whole = tinychat.template().render(messages=QUESTION, tools=None, add_generation_prompt=True)
    assert whole == (
        "<|im_start|>user\nHow will the weather be?<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    "reply", [reply for reply in REPLIES if reply.template == "tinychat"], ids=str
)
def test_a_reply_of_tinychat_reads_as_it_was_written(reply: Reply) -> None:
    """So that the next prompt begins with what has been computed already."""
    template, prompt = templates("tinychat"), reply.prompt()
    tools = [WEATHER] if reply.tools else None
    message = ReplyParser(prompt).parse(reply.text)
    after = [{"role": "tool", "content": "17"}] * reply.calls
    turn = template.apply([*QUESTION, message, *after], tools=tools)["prompt"]
    assert turn.startswith(prompt["prompt"] + reply.text + "<|im_end|>\n")

    later = template.apply([*QUESTION, message, *after, user("Thanks")], tools=tools)["prompt"]
    assert "<think>\nHm." not in later
    assert reply.text.removeprefix("Hm.\n</think>\n\n") in later


def test_tools_in_a_prompt_of_tinychat() -> None:
    bare: Mapping[str, Any] = {"type": "function", "function": {"name": "now"}}
    messages = [{"role": "system", "content": "Be brief."}, *QUESTION]
    prompt = templates("tinychat").apply(messages, tools=[WEATHER, bare], enable_thinking=False)
    function = json.dumps(WEATHER["function"])
    assert prompt["prompt"] == (
        "<|im_start|>system\nBe brief.\n\nYou may call these tools:\n<tools>\n"
        f'{function}\n{{"name": "now"}}\n</tools><|im_end|>\n'
        "<|im_start|>user\nHow will the weather be?<|im_end|>\n<|im_start|>assistant\n"
    )
