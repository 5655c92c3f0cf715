"""``create_chat_completion`` with a model that says nothing sensible: shapes, parts, limits.

What replies mean is tested with tinychat, in ``tests/model``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_kit import cached_tokens, open_llama
from zoo import Zoo, write_llama

from llama_cpp.errors import (
    ContextWindowError,
    GrammarError,
    InvalidArgumentError,
)
from llama_cpp.llama import Llama

MESSAGES = [
    {"role": "system", "content": "word by word"},
    {"role": "user", "content": "what is the answer"},
]
RENDERED = (
    b"<|im_start|>system\nword by word<|im_end|>\n"
    b"<|im_start|>user\nwhat is the answer<|im_end|>\n<|im_start|>assistant\n"
)
CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {
    "type": "object",
    "properties": {"size": {"enum": ["small", "large"]}, "count": {"enum": [1, 2, 30]}},
    "required": ["size", "count"],
    "additionalProperties": False,
}
TO_THE_END: dict[str, Any] = {"max_tokens": 100, "ignore_eos": False}


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama) as model:
        yield model


def chat(llm: Llama, messages: Any = MESSAGES, **options: Any) -> Any:
    return llm.create_chat_completion(
        messages, **{"max_tokens": 12, "temperature": 0, "ignore_eos": True, **options}
    )


def content_of(answer: Any) -> Any:
    return answer["choices"][0]["message"]["content"]


def test_shape_of_an_answer(llm: Llama) -> None:
    answer = chat(llm, model="some name")
    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "some name"
    assert chat(llm)["model"] == llm.model_path
    [choice] = answer["choices"]
    assert set(choice) == {"index", "message", "logprobs", "finish_reason"}
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "length"
    prompt = [llm.token_bos(), *llm.tokenize(RENDERED, add_bos=False, special=True)]
    assert answer["usage"]["prompt_tokens"] == len(prompt)
    assert answer["usage"]["completion_tokens"] == 12
    # What it says is what a completion of the rendered prompt says.
    text: Any = llm(prompt, max_tokens=12, temperature=0, ignore_eos=True)
    assert content_of(answer) == text["choices"][0]["text"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 1.2, "seed": 4},
        {"logprobs": True, "top_logprobs": 2},
        {"stop": ["e"]},
        {"n": 3, "temperature": 1.2, "seed": 4},
        {"response_format": {"type": "json_object", "schema": SCHEMA}, **TO_THE_END},
        {"grammar": "root ::= [a-f]{5}", **TO_THE_END},
    ],
    ids=str,
)
def test_stream_equals_whole(llm: Llama, options: dict[str, Any]) -> None:
    whole = chat(llm, **options)
    chunks = list(chat(llm, stream=True, **options))
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    for choice in whole["choices"]:
        parts = [
            part
            for chunk in chunks
            for part in chunk["choices"]
            if part["index"] == choice["index"]
        ]
        assert parts[0]["delta"] == {"role": "assistant", "content": ""}
        assert (parts[-1]["delta"], parts[-1]["finish_reason"]) == ({}, choice["finish_reason"])
        assert all(part["finish_reason"] is None for part in parts[:-1])
        text = "".join(part["delta"].get("content") or "" for part in parts)
        assert text == choice["message"]["content"]
        told = [entry for part in parts for entry in (part["logprobs"] or {}).get("content", [])]
        assert [entry["token"] for entry in told] == [
            entry["token"] for entry in (choice["logprobs"] or {}).get("content", [])
        ]


def test_logprobs_have_the_shape_of_chats(llm: Llama) -> None:
    answer = chat(llm, logprobs=True, top_logprobs=3)
    entries = answer["choices"][0]["logprobs"]["content"]
    assert len(entries) == 12
    for entry in entries:
        assert set(entry) == {"token", "logprob", "bytes", "top_logprobs"}
        assert len(entry["top_logprobs"]) == 3
        assert entry["top_logprobs"][0]["logprob"] == pytest.approx(entry["logprob"])
    text = b"".join(bytes(entry["bytes"]) for entry in entries).decode("utf-8", "replace")
    assert text == content_of(answer)
    assert chat(llm, logprobs=False)["choices"][0]["logprobs"] is None
    bare = chat(llm, logprobs=True)["choices"][0]["logprobs"]["content"]
    assert all(entry["top_logprobs"] == [] for entry in bare)
    none_beside = chat(llm, logprobs=True, top_logprobs=0)["choices"][0]["logprobs"]["content"]
    assert none_beside == bare
    for off in (False, None):
        answer = chat(llm, logprobs=off, top_logprobs=0)
        assert answer["choices"][0]["logprobs"] is None


def test_usage_of_a_stream_comes_when_it_is_asked_for(llm: Llama) -> None:
    plain = list(chat(llm, stream=True))
    *parts, last = chat(llm, stream=True, stream_options={"include_usage": True})
    assert all("usage" not in chunk for chunk in [*plain, *parts])
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
def test_a_reply_has_the_form_of_a_schema(llm: Llama, kind: str) -> None:
    form = {"type": kind, "schema": SCHEMA} if kind == "json_object" else {
        "type": kind, "json_schema": {"name": "order", "schema": SCHEMA},
    }  # fmt: skip
    for seed in range(4):
        answer = chat(llm, response_format=form, temperature=1.5, seed=seed, **TO_THE_END)
        value = json.loads(content_of(answer))
        assert value["size"] in ("small", "large") and value["count"] in (1, 2, 30)
        assert answer["choices"][0]["finish_reason"] == "stop"
    assert content_of(chat(llm, response_format={"type": "text"})) == content_of(chat(llm))


def test_limits_go_by_either_name(llm: Llama) -> None:
    for options in ({"max_tokens": 3}, {"max_tokens": 9, "max_completion_tokens": 3}):
        answer = chat(llm, **options)
        assert answer["usage"]["completion_tokens"] == 3
        assert answer["choices"][0]["finish_reason"] == "length"
    full = chat(llm, max_tokens=None)
    assert full["usage"]["total_tokens"] == llm.n_ctx()


def test_a_conversation_goes_on_without_computing_it_again(llm: Llama) -> None:
    llm.reset()
    first = chat(llm)
    assert cached_tokens(first) == 0
    more = [
        *MESSAGES,
        {"role": "assistant", "content": content_of(first)},
        {"role": "user", "content": "and the name"},
    ]
    second = chat(llm, more)
    assert cached_tokens(second) >= first["usage"]["prompt_tokens"] - 2


def test_a_model_without_a_template_gets_that_of_llama_2(llm: Llama, tmp_path: Path) -> None:
    path = write_llama(tmp_path / "bare.gguf", chat_template=None)
    expected = content_of(chat(llm))
    with open_llama(path) as bare:
        assert "tokenizer.chat_template" not in bare.metadata
        assert bare.chat_format == "llama-2"
        prompt = b"[INST] <<SYS>>\nword by word\n<</SYS>>\n\nwhat is the answer [/INST]"
        assert chat(bare)["usage"]["prompt_tokens"] == len(bare.tokenize(prompt))
        bare.chat_format = "chatml"
        assert content_of(chat(bare)) == expected
    other = write_llama(tmp_path / "other.gguf", chat_template="{{ messages[0].content }}!")
    with open_llama(other) as own, open_llama(other, chat_format="chatml") as named:
        assert content_of(chat(named)) == expected
        assert content_of(chat(own)) != expected
        assert chat(own)["usage"]["prompt_tokens"] == len(own.tokenize(b"word by word!"))


def test_an_unknown_format_is_refused_with_what_there_is(zoo: Zoo) -> None:
    with (
        open_llama(zoo.llama, chat_format="nonsense") as llm,
        pytest.raises(
            InvalidArgumentError, match="'nonsense' is unknown: there are alpaca, baichuan"
        ),
    ):
        chat(llm)


def test_a_handler_of_the_caller_gets_every_argument(zoo: Zoo) -> None:
    seen: list[dict[str, Any]] = []

    def handler(**arguments: Any) -> str:
        seen.append(arguments)
        return "the answer"

    with open_llama(zoo.llama, chat_handler=handler) as llm:
        answer: Any = llm.create_chat_completion(
            MESSAGES, temperature=0.5, stop=["a"], stream=True, xtc_probability=0.1
        )
        assert answer == "the answer"
        [arguments] = seen
        assert arguments["llama"] is llm
        assert arguments["messages"] == MESSAGES
        for name, value in {
            "temperature": 0.5, "stop": ["a"], "stream": True, "xtc_probability": 0.1,
            "max_tokens": None, "tools": None, "seed": None,
        }.items():  # fmt: skip
            assert arguments[name] == value


def test_contents_may_be_missing_or_in_parts(llm: Llama) -> None:
    parts = [{"type": "text", "text": "what is the answer"}]
    in_parts = [MESSAGES[0], {"role": "user", "content": parts}]
    assert content_of(chat(llm, in_parts)) == content_of(chat(llm))
    nothing = [MESSAGES[0], {"role": "assistant", "content": None}, MESSAGES[1]]
    empty = [MESSAGES[0], {"role": "assistant", "content": ""}, MESSAGES[1]]
    assert content_of(chat(llm, nothing)) == content_of(chat(llm, empty))


@pytest.mark.parametrize(
    ("messages", "options", "error", "message"),
    [
        ("hello", {}, InvalidArgumentError, "messages must be a list of dicts like .*, not str"),
        (None, {}, InvalidArgumentError, "messages must be a list of dicts like .*, not NoneType"),
        ([], {}, InvalidArgumentError, "messages is empty: give at least one message"),
        ([5], {}, InvalidArgumentError, r"messages\[0\] must be a dict like .*, not 5"),
        (
            [{"role": "wizard", "content": "hi"}], {}, InvalidArgumentError,
            r"messages\[0\] has the role 'wizard', known are assistant, developer, function, ",
        ),
        ([{"content": "hi"}], {}, InvalidArgumentError, "has the role None"),
        (
            [{"role": "user", "content": 5}], {}, InvalidArgumentError,
            "neither a text nor a list of parts",
        ),
        (
            [*MESSAGES, {"role": "tool", "content": "5", "tool_call_id": "a"}], {},
            InvalidArgumentError, r"messages\[2\] is the result of a tool, but no message before",
        ),
        (
            [*MESSAGES, CALL, {"role": "tool", "content": "5", "tool_call_id": "b"}], {},
            InvalidArgumentError, "answers the call 'b', but the calls before it are 'a'",
        ),
        (
            [{"role": "assistant", "tool_calls": [{"name": "f"}]}], {},
            InvalidArgumentError, r"messages\[0\].tool_calls\[0\] must be a dict like",
        ),
        (
            [{"role": "assistant", "tool_calls": "f"}], {},
            InvalidArgumentError, "tool_calls that are no list",
        ),
        (MESSAGES, {"top_logprobs": 3}, InvalidArgumentError, "top_logprobs needs logprobs=True"),
        (MESSAGES, {"tools": {}}, InvalidArgumentError, "tools must be a list"),
        (MESSAGES, {"tools": [TOOL, TOOL]}, InvalidArgumentError, "as another tool has"),
        (
            MESSAGES, {"tool_choice": "required"}, InvalidArgumentError,
            'tool_choice="required" needs tools',
        ),
        (
            MESSAGES, {"tools": [TOOL], "tool_choice": "required",
                       "response_format": {"type": "json_object"}},
            InvalidArgumentError, "a call is demanded",
        ),
        (
            MESSAGES, {"tools": [TOOL], "grammar": 'root ::= "a"'}, InvalidArgumentError,
            "a grammar or tools, not both",
        ),
        (
            MESSAGES, {"response_format": {"type": "json_object"}, "grammar": 'root ::= "a"'},
            InvalidArgumentError, "a grammar or a response_format, not both",
        ),
        (
            MESSAGES, {"reasoning_format": "loud"}, InvalidArgumentError,
            "reasoning_format='loud' must be one of none, auto, deepseek",
        ),
        (
            [{"role": "user", "content": "the " * 500}], {}, ContextWindowError,
            r"Requested tokens \(5\d\d\) exceed context window of 256",
        ),
        (MESSAGES, {"top_p": -1}, InvalidArgumentError, "top_p=-1 must be"),
        (MESSAGES, {"tempreture": 1}, TypeError, "did you mean 'temperature'"),
        (MESSAGES, {"stop": 5}, InvalidArgumentError, "stop=5 must be a text"),
        (MESSAGES, {"grammar": "root ::= ("}, GrammarError, "line 1, column 11"),
        (MESSAGES, {"response_format": {"type": "xml"}}, InvalidArgumentError, "none of the types"),
        (
            MESSAGES, {"response_format": {"type": "json_schema"}}, InvalidArgumentError,
            "none of the types text, json_object and json_schema",
        ),
        (
            MESSAGES, {"tool_choice": "maybe"}, InvalidArgumentError,
            "'maybe' must be \"auto\", \"required\"",
        ),
        (
            MESSAGES, {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            InvalidArgumentError, "names no tool: there are none",
        ),
        (MESSAGES, {"tools": [{"name": "f"}]}, InvalidArgumentError, r"tools\[0\] must be a dict"),
    ],
)  # fmt: skip
def test_what_makes_no_chat_is_refused(
    llm: Llama, messages: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    expected = content_of(chat(llm))
    with pytest.raises(error, match=message):
        chat(llm, messages, **options)
    with pytest.raises(error, match=message):
        list(chat(llm, messages, stream=True, **options))
    assert content_of(chat(llm)) == expected


def test_a_dropped_stream_frees_the_model(llm: Llama) -> None:
    expected = content_of(chat(llm))
    chunks = chat(llm, stream=True, max_tokens=None)
    for _ in range(3):
        next(chunks)
    chunks.close()
    assert len(llm.engine) == 0
    assert content_of(chat(llm)) == expected


READS_CONTENT = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content + '|' }}{% endfor %}"
    "[reply]"
)


@pytest.mark.parametrize(
    "options", [{"chat_template": READS_CONTENT}, {"chat_format": "chatml"}, {}], ids=repr
)
def test_a_call_without_content_and_its_result_make_a_second_turn(
    zoo: Zoo, options: dict[str, Any]
) -> None:
    result = {"role": "function", "name": "f", "content": "forty two"}
    with open_llama(zoo.llama, n_ctx=1024, **options) as llm:
        given = {"tools": [TOOL], "max_tokens": 2}
        empty = chat(llm, [*MESSAGES, {**CALL, "content": ""}, result], **given)
        answer = chat(llm, [*MESSAGES, CALL, result], **given)
    assert answer["choices"] == empty["choices"]
    assert answer["usage"]["prompt_tokens"] == empty["usage"]["prompt_tokens"] > 30
