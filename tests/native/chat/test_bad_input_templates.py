"""Chat templates and conversations that are broken, hostile or much too deep."""

from __future__ import annotations

import ctypes
import json
import random
from typing import Any

import pytest
from chat_kit import OF_THE_ENGINE, QUESTION, REPLIES, WEATHER, source, templates, tool, user
from isolated import Cases, Files, Outcomes

from llama_cpp.errors import (
    ChatTemplateError,
    GrammarError,
    InvalidArgumentError,
    LlamaError,
    PointerTypeError,
    TextError,
)
from llama_cpp.handles.chat_templates import ChatTemplates, ReplyParser
from llama_cpp.llama_grammar import json_schema_to_gbnf
from llama_cpp.native.backend import bridge, take_string

cases = Cases(__file__)


def chain(length: int) -> dict[str, Any]:
    """A schema in which each definition is the next one."""
    definitions: dict[str, Any] = {f"a{i}": {"$ref": f"#/$defs/a{i + 1}"} for i in range(length)}
    return {"$ref": "#/$defs/a0", "$defs": {**definitions, f"a{length}": {"type": "string"}}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@cases.add
def broken_templates_are_refused(files: Files) -> None:
    for text in (
        "{{", "{%", "{#", "{{ '", "{{ 'a\\", "{{ 'a\\q' }}", "{% if %}", "{% if x %}",
        "{% endif %}", "{% for %}", "{% for x of y %}{% endfor %}", "{% unknown %}", "{{ ) }}",
        "{{ (1 }}", "{{ [1 }}", "{{ {1 }}", "{{ a[ }}", "{{ a. }}", "{{ a| }}", "{{ 1 + }}",
        "{{ @ }}", "{{ ; }}", "{% set %}", "{% set x %}", "{% macro %}", "{% macro f( %}",
        "{% call 1 %}", "{% if x %}{% else", "{{ 99999999999999999999999999 }}", "{{ 1 if }}",
        "{{ x is }}", "{{ -", "{%-",
    ):  # fmt: skip
        with pytest.raises(ChatTemplateError, match="cannot be used"):
            ChatTemplates(text)
    with pytest.raises(ChatTemplateError, match="is empty"):
        ChatTemplates("")


@cases.add
def templates_that_fail_are_told_apart_from_broken_ones(files: Files) -> None:
    for text in (
        "{{ 1 + none }}", "{{ raise_exception('no') }}", "{{ unknown() }}", "{{ 'a'.unknown() }}",
        "{{ 'a' | unknown }}", "{{ x is unknown }}", "{{ 4 is divisibleby(0) }}", "{{ -'a' }}",
        "{{ 4 is divisibleby(messages | length - 1) }}", "{% for a, b in [1] %}{% endfor %}",
        "{% set x.y = 1 %}", "{{ {}['a'].b.c() }}", "{{ {[1]: 2} }}",
        "{{ 1 | tojson(sort_keys=true) }}", "{{ messages[0].content.split('') }}",
        "{% for i in range(1, 2, 0) %}{% endfor %}",
    ):  # fmt: skip
        template = ChatTemplates(text)
        assert template.describe()["supports_thinking"] is False
        with pytest.raises(ChatTemplateError):
            template.apply(QUESTION)
    odd = ChatTemplates("{{ 1 % 0 }}{{ (-9223372036854775807 - 1) is divisibleby(-1) }}")
    assert "True" in odd.apply(QUESTION)["prompt"]


CALLER = "{% macro m() %}{{ caller() }}{% endmacro %}"
NAMESPACE = "{% set ns = namespace(x=[]) %}"


@cases.add
def templates_without_end_are_refused(files: Files) -> None:
    for macro in (
        "{{ f() }}",
        "{% for i in [1] %}{% if i %}{{ f() }}{% endif %}{% endfor %}",
        "{{ 'a' ~ ('b' ~ f([x, {'a': f(x)}])) }}",
        "{% macro g() %}{{ f() }}{% endmacro %}{{ g() }}",
        CALLER + "{% call m() %}{{ f() }}{% endcall %}",
    ):
        text = "{% macro f(x=1) %}" + macro + "{% endmacro %}{{ f() }}"
        with pytest.raises(ChatTemplateError, match="calls itself too often"):
            ChatTemplates(text).apply(QUESTION)


@cases.add
def values_without_end_are_refused(files: Files) -> None:
    for text in (
        "{% set ns.x = ns %}{{ ns | tojson }}",
        "{% set ns.x = [[ns]] %}{{ ns ~ '' }}",
        "{% set a = [] %}{% set _ = a.append(a) %}{{ a }}",
        "{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}",
        "{% for i in range(100000) %}{% set y, z = [ns.x], 1 %}{% set ns.x = y %}{% endfor %}",
        "{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}",
    ):
        with pytest.raises(ChatTemplateError, match="holds itself, or too much"):
            ChatTemplates(NAMESPACE + text).apply(QUESTION)
    with pytest.raises(ChatTemplateError, match="cannot be a function"):
        ChatTemplates(CALLER + "{% set f = m %}").apply(QUESTION)


@cases.add
def templates_that_nest_too_deeply_are_refused(files: Files) -> None:
    deep = 100_000
    for text in (
        "{{ " + "(" * deep + "1" + ")" * deep + " }}", "{{ " + "[" * deep, "{{ " + "{1:" * deep,
        "{{ " + "f(" * deep, "{{ " + "a[" * deep, "{% if x %}" * deep, "{% set x %}" * deep,
        "{% for x in y %}" * deep + "{% endfor %}" * deep, "{% if x %}" + "{% elif x %}" * deep,
        "{% macro f() %}" * deep, "{% filter upper %}" * deep, "{% call f() %}" * deep,
        "{{ " + "not " * deep + "1 }}", "{{ " + "- " * deep + "1 }}",
        "{{ 1" + " + 1" * deep + " }}", "{{ f" + "()" * deep + " }}",
        "{{ 1" + " if 0 else 1" * deep + " }}", "{{ a" + ".b" * deep + " }}",
        "{{ 1" + " | string" * deep + " }}", "{{ 1" + " is x" * deep + " }}",
        "x" * (1 << 20) + "y",
    ):  # fmt: skip
        with pytest.raises(ChatTemplateError, match=r"at most \d+"):
            ChatTemplates(text[: 1 << 20] if text[0] == "{" else text)


@cases.add
def templates_that_nest_deeply_work(files: Files) -> None:
    for text in (
        "{{ " + "(" * 64 + "1" + ")" * 64 + " }}", "{{ " + "[" * 64 + "1" + "]" * 64 + " }}",
        "{% if true %}" * 100 + "1" + "{% endif %}" * 100, "{{ 1" + " + 0" * 400 + " }}",
        "{% if false %}" + "{% elif false %}" * 100 + "{% else %}1{% endif %}",
        "{% set x = 1 %}" * 1000 + "{{ x }}", "{% if true %}{% endif %}" * 1000 + "1",
        "{% set x %}1{% endset %}" * 1000 + "{{ x }}", "{{ [" + "1, " * 1000 + "1][0] }}",
    ):  # fmt: skip
        assert "1" in ChatTemplates(text).apply(QUESTION)["prompt"]


@cases.add
def texts_that_are_no_template_are_refused(files: Files) -> None:
    for bad in ("a\0b", "\ud800", None, 5, ["a"]):
        for arguments in ((bad,), ("a", bad), ("a", "", bad)):
            names = ("source", "bos", "eos")
            with pytest.raises(TextError):
                ChatTemplates(**dict(zip(names, arguments, strict=False)))  # type: ignore[arg-type]


@cases.add
def conversations_of_the_wrong_shape_are_refused(files: Files) -> None:
    template = templates("tinychat")
    messages: list[Any] = [
        None, {}, "hi", 5, [None], ["hi"], [{}], [{"content": "hi"}], [{"role": "user"}],
        [{"role": 5, "content": "hi"}], [{"role": "user", "content": 5}],
        [{"role": "user", "content": [{}]}], [{"role": "user", "content": [5]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
        [{"role": "user", "content": [{"type": "text", "text": 5}]}],
        [{"role": "assistant", "tool_calls": 5}], [{"role": "assistant", "tool_calls": [{}]}],
        [{"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f"}}]}],
        [{"role": "assistant", "tool_calls": [{"type": "x", "function": {}}]}],
        [{"role": "user", "content": "hi", "reasoning_content": 5}],
    ]  # fmt: skip
    for bad in messages:
        with pytest.raises(ChatTemplateError):
            template.apply(bad)
    arguments = {"name": "f", "arguments": "no JSON"}
    call = {"role": "assistant", "tool_calls": [{"type": "function", "function": arguments}]}
    with pytest.raises(ChatTemplateError, match="tool call arguments"):
        template.apply([*QUESTION, call])
    with pytest.raises(ChatTemplateError, match="roles must alternate"):
        templates("google-gemma-2-2b-it").apply([{"role": "stranger", "content": "hi"}])
    assert (
        "<|im_start|>stranger\nhi"
        in template.apply([{"role": "stranger", "content": "hi"}])["prompt"]
    )
    assert template.apply([])["prompt"] == "<|im_start|>assistant\n<think>\n"


@cases.add
def options_of_the_wrong_shape_are_refused(files: Files) -> None:
    template = templates("tinychat")
    options: list[dict[str, Any]] = [
        {"unknown": 1}, {"tools": 5}, {"tools": [5]}, {"tools": [{}]}, {"tools": [{"type": "x"}]},
        {"tools": [{"type": "function"}]}, {"tools": [{"type": "function", "function": 5}]},
        {"tools": [{"type": "function", "function": {}}]}, {"tools": [tool({}, 5)]},  # type: ignore[arg-type]
        {"tools": [tool({"type": "nonsense"})]}, {"tool_choice": "maybe"}, {"tool_choice": {}},
        {"json_schema": 5}, {"json_schema": {}, "grammar": "root ::= [a]"},
        {"json_schema": {"type": "nonsense"}}, {"grammar": 5},
        {"tools": [WEATHER], "grammar": "root ::= [a]"}, {"enable_thinking": "yes"},
        {"reasoning_format": "loud"}, {"reasoning_format": True}, {"add_generation_prompt": 1},
        {"chat_template_kwargs": []}, {"chat_template_kwargs": {"enable_thinking": "yes"}},
        {"chat_template_kwargs": {"messages": 5}}, {"now": "today"}, {"now": -1}, {"now": 1e300},
        {"add_bos": "x"}, {"parallel_tool_calls": []}, {"force_pure_content": 0},
    ]  # fmt: skip
    for bad in options:
        with pytest.raises(ChatTemplateError):
            template.apply(QUESTION, **bad)
    for name in ("messages", "tools", "bos_token", "eos_token", "add_generation_prompt"):
        with pytest.raises(ChatTemplateError, match=f"'{name}'.* cannot be set: the renderer"):
            template.apply(QUESTION, chat_template_kwargs={name: []})


@cases.add
def what_is_no_json_is_refused(files: Files) -> None:
    template = templates("tinychat")
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for bad in (circle, deep, object(), {1, 2}, b"a", float("nan"), float("inf"), {(1, 2): 3}):
        with pytest.raises(InvalidArgumentError, match="JSON"):
            template.apply(QUESTION, chat_template_kwargs={"x": bad})
    for text in ("\ud800", "a\udfff"):
        with pytest.raises(TextError):
            template.apply([user(text)])


@cases.add
def conversations_that_nest_too_deeply_are_refused(files: Files) -> None:
    template = templates("tinychat")
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    brackets = "[" * 100_000 + "]" * 100_000
    call = {"type": "function", "function": {"name": "f", "arguments": brackets}}
    for arguments in (
        ([*QUESTION, {"role": "assistant", "tool_calls": [call]}], {}),
        (QUESTION, {"chat_template_kwargs": {"x": deep}}),
        (QUESTION, {"tools": [tool(nested(100))]}),
        (QUESTION, {"tools": [tool(chain(20_000))]}),
        (QUESTION, {"json_schema": chain(20_000)}),
    ):
        with pytest.raises(InvalidArgumentError, match="levels deep"):
            template.apply(arguments[0], **arguments[1])
    long = "_" * 60_000
    schemas: list[Any] = [{"properties": {long: {}}}, {"$ref": f"#/{long}"}, {"$defs": {long: {}}}]
    for parameters in schemas:
        with pytest.raises(InvalidArgumentError, match="name of more than"):
            template.apply(QUESTION, tools=[tool(parameters)])
    with pytest.raises(InvalidArgumentError, match="name of more than"):
        template.apply(QUESTION, tools=[tool({}, long)])
    pattern = {"type": "string", "pattern": "^" + "(" * 50_000 + ")" * 50_000 + "$"}
    with pytest.raises(InvalidArgumentError, match="parentheses"):
        template.apply(QUESTION, json_schema=pattern)


@cases.add
def conversations_that_nest_deeply_work(files: Files) -> None:
    names = ("tinychat", "openai-gpt-oss-120b", "meta-llama-Llama-3.1-8B-Instruct", "Qwen3-Coder")
    defs = {"$defs": chain(1000)["$defs"]}
    for name in names:
        template = templates(name)
        for schema in (
            nested(30),
            {"type": "object", "properties": {"x": {"$ref": "#/$defs/a0"}}, **defs},
        ):
            prompt = template.apply(QUESTION, tools=[tool(schema)], tool_choice="required")
            assert prompt["grammar"]
    brackets = "[" * 3000 + "]" * 3000
    call = {"type": "function", "function": {"name": "f", "arguments": brackets}}
    prompt = templates("tinychat").apply([*QUESTION, {"role": "assistant", "tool_calls": [call]}])
    assert brackets in prompt["prompt"]
    assert brackets in templates("tinychat").apply([user(brackets)])["prompt"]


@cases.add
def schemas_that_end_the_process_are_refused(files: Files) -> None:
    long = {"type": "object", "properties": {"_" * 60_000: {"type": "string"}}}
    pattern = {"type": "string", "pattern": "^" + "(" * 50_000 + ")" * 50_000 + "$"}
    for schema in (long, pattern, chain(20_000), {"$ref": "#/" + "_" * 60_000}):
        with pytest.raises(GrammarError):
            json_schema_to_gbnf(json.dumps(schema), allow_unsupported=False)
    assert "ref-defs-a2999" in json_schema_to_gbnf(json.dumps(chain(3000)))


@cases.add
def null_is_refused(files: Files) -> None:
    error, out = ctypes.c_char_p(), ctypes.c_char_p()
    template = templates("tinychat")
    parser = ReplyParser(template.apply(QUESTION))

    def refused() -> bool:
        return bool(error) and "is NULL" in take_string(error)

    last = ctypes.byref(error)
    for texts in ((None, b"", b""), (b"a", None, b""), (b"a", b"", None)):
        assert bridge("bridge_chat_templates_init")(*texts, last) is None
        assert refused()
    bridge("bridge_chat_templates_apply")(template, None, ctypes.byref(out), last)
    assert refused()
    assert bridge("bridge_chat_parser_init")(None, last) is None
    assert refused()
    bridge("bridge_chat_parser_parse")(parser, None, 0, False, ctypes.byref(out), last)
    assert refused()
    for name in ("bridge_chat_templates_describe", "bridge_chat_templates_free"):
        with pytest.raises(PointerTypeError):
            bridge(name)(None, *[ctypes.byref(out), last][: 2 * name.endswith("describe")])


@cases.add
def raw_json_is_checked(files: Files) -> None:
    """By the bridge itself; Python never sends such texts."""
    error, out = ctypes.c_char_p(), ctypes.c_char_p()
    template = templates("tinychat")
    for text in (
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b'{"messages": "\xff"}',
        b'{"messages": [}',
        b"{}",
    ):
        bridge("bridge_chat_templates_apply")(
            template, text, ctypes.byref(out), ctypes.byref(error)
        )
        assert take_string(error)
        assert bridge("bridge_chat_parser_init")(text, ctypes.byref(error)) is None or text == b"{}"
        assert text == b"{}" or take_string(error)


@cases.add
def damaged_templates_work_or_are_refused(files: Files) -> None:
    chance = random.Random(5)
    names = [path.stem for path in sorted(OF_THE_ENGINE.glob("*.jinja"))]
    parts = [
        "{{",
        "}}",
        "{%",
        "%}",
        "(",
        ")",
        "[",
        "]",
        "'",
        "|",
        ".",
        " if ",
        " else ",
        "-",
        "none",
        ":",
    ]
    worked = refused = 0
    for _ in range(600):
        text = source(chance.choice(names))
        for _ in range(chance.randint(1, 3)):
            start = chance.randrange(len(text))
            end = start + chance.choice((0, 1, 5, 50))
            text = text[:start] + chance.choice([*parts, ""]) + text[end:]
        try:
            template = ChatTemplates(text)
            template.describe()
            prompt = template.apply(QUESTION, tools=[WEATHER], reasoning_format="auto")
            ReplyParser(prompt).parse(chance.choice(REPLIES).text, partial=True)
            worked += 1
        except LlamaError:
            refused += 1
    assert min(worked, refused) > 50


@pytest.mark.parametrize("name", cases.names)
def test_bad_chat_template(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""
