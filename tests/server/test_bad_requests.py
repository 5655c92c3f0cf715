"""Requests that are refused: the right status, OpenAI's error object, and the server goes on."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from server_kit import RunningServer, serving

RESERVED = ("messages", "tools", "bos_token", "eos_token", "add_generation_prompt")
SECRET = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}
COUNT = "/v1/messages/count_tokens"
HELLO = [{"role": "user", "content": "Hello"}]


def refused(response: httpx.Response, status: int, kind: str = "invalid_request_error") -> Any:
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"error"}
    counts = {"n_prompt_tokens", "n_ctx"}
    is_too_long = body["error"]["code"] == "context_length_exceeded"
    expected = {"message", "type", "param", "code"} | (counts if is_too_long else set())
    assert body["error"].keys() == expected
    assert body["error"]["type"] == kind and body["error"]["message"]
    return body["error"]


def assert_serves(server: RunningServer) -> None:
    answer = server.post("/v1/completions", {"prompt": "Once", "max_tokens": 1})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": {"a": 1}}, "prompt"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 2**40}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 10**9}, "n"),
        ({"logprobs": 101}, "logprobs"),
        ({"logprobs": -1}, "logprobs"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 1.01}, "top_p"),
        ({"min_p": 1.5}, "min_p"),
        ({"typical_p": -0.1}, "typical_p"),
        ({"temperature": True}, "temperature"),
        ({"top_k": 2**70}, "top_k"),
        ({"prompt": [5000000]}, None),
        ({"prompt": [-1]}, "prompt"),
        ({"seed": 2**70}, "seed"),
        ({"stop": 5}, "stop"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"prompt": ["a"] * 1000, "n": 100}, None),
        ({"stop": ["a" * 5000]}, "stop"),
        ({"logit_bias": {"99999999": 1}}, None),
        ({"grammar": "root ::= ("}, None),
        ({"samplers": ["magic"]}, None),
        ({"lora": {"none": 1.0}}, None),
    ],
    ids=str,
)
def test_wrong_completions_are_refused(
    server: RunningServer, body: dict[str, Any], param: str | None
) -> None:
    error = refused(server.post("/v1/completions", {"prompt": "Once", **body}), 400)
    if param is not None:
        assert error["param"] == param
    assert_serves(server)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": "Hello"},
        {"messages": [{"role": "nobody", "content": "Hello"}]},
        {"messages": [{"role": ["user"], "content": "Hello"}]},
        {"messages": [{"role": {"a": 1}, "content": "Hello"}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
                }
            ]
        },
        {"messages": HELLO, "tools": [{"type": "function"}]},
        {"messages": HELLO, "tool_choice": "required"},
        {"messages": HELLO, "response_format": {"type": "json_schema"}},
        {"messages": HELLO, "response_format": {"type": "object", "properties": {}}},
        {"messages": HELLO, "tool_choice": "magic"},
        {"messages": HELLO, "max_tokens": -2},
        {"messages": HELLO, "max_completion_tokens": -5},
        {"messages": HELLO, "top_p": 2},
        {"messages": HELLO, "top_logprobs": 3},
        {"messages": HELLO, "reasoning_format": "magic"},
    ],
    ids=str,
)
def test_wrong_chats_are_refused(server: RunningServer, body: dict[str, Any]) -> None:
    refused(server.post("/v1/chat/completions", body), 400)
    assert_serves(server)


@pytest.mark.parametrize(
    "body",
    [
        {"max_output_tokens": 0},
        {"max_output_tokens": -1},
        {"top_p": 1.5},
        {"tool_choice": {"type": "magic"}},
        {"tool_choice": "magic"},
    ],
    ids=str,
)
def test_wrong_responses_are_refused(server: RunningServer, body: dict[str, Any]) -> None:
    [field] = body
    assert field in refused(server.post("/v1/responses", {"input": "Hi", **body}), 400)["message"]


TOOL = {"name": "f", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"top_p": 1.5},
        {"tool_choice": {"type": "magic"}},
        {"tool_choice": {"type": ["auto"]}},
        {"tool_choice": {}},
        {"tool_choice": {"type": "tool"}},
        {"tool_choice": {"type": "tool", "name": "g"}},
        {"thinking": {"type": "perhaps"}},
    ],
    ids=str,
)
def test_wrong_messages_are_refused(server: RunningServer, body: dict[str, Any]) -> None:
    sent = {"messages": HELLO, "max_tokens": 4, "tools": [TOOL], **body}
    [field] = body
    paths = ["/v1/messages"] if field in ("max_tokens", "top_p") else ["/v1/messages", COUNT]
    for path in paths:
        answer = server.post(path, sent)
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert error.keys() == {"type", "message"} and answer.json()["type"] == "error"
        assert error["type"] == "invalid_request_error" and field in error["message"]


def test_minus_one_is_no_limit(server: RunningServer) -> None:
    body = {"prompt": "Once", "stop": ["."], "max_tokens": -1}
    assert server.post("/v1/completions", body).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b'{"prompt": NaN}', b'{"temperature": NaN, "prompt": "x"}',
        b'{"temperature": Infinity, "prompt": "x"}', b'{"prompt": "\xff\xfe"}', b"\xff",
        b'{"prompt":' + b"[" * 100_000, b'{"prompt": 1e999}',
    ],
    ids=lambda content: repr(content[:30]),
)  # fmt: skip
def test_wrong_json_is_refused(server: RunningServer, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = server.client.post("/v1/completions", content=content, headers=headers)
    refused(response, 400)
    assert_serves(server)


def test_parts_of_the_assistant_are_texts(server: RunningServer) -> None:
    part = {"type": "input_image", "image_url": "data:x"}
    body = {"input": [{"role": "assistant", "content": [part]}]}
    assert refused(server.post("/v1/responses", body), 400)["param"] == "input"


def test_what_is_not_said_to_be_json_is_refused(server: RunningServer) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"content-type": kind} if kind else {}
        response = server.client.post("/v1/completions", content=b"{}", headers=headers)
        refused(response, 415)


def test_unknown_fields_are_ignored(server: RunningServer) -> None:
    body = {"prompt": "Once", "max_tokens": 1, "no_such_field": {"a": [1]}}
    assert server.post("/v1/completions", body).status_code == 200


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "é" * 3, "\u202e"])
def test_strange_texts_are_no_failure(server: RunningServer, text: str) -> None:
    bias = {"logit_bias": {text: 1}, "logit_bias_type": "tokens"}
    content = json.dumps({"prompt": text, "max_tokens": 2, **bias}).encode()
    response = httpx.post(
        server.url + "/v1/completions", content=content,
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert response.status_code in (200, 400)
    assert_serves(server)


def test_prompts_beyond_the_context_are_told_apart(server: RunningServer) -> None:
    for path, body in (
        ("/v1/completions", {"prompt": "word " * 5000}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "word " * 5000}]}),
    ):
        error = refused(server.post(path, body), 400)
        assert error["code"] == "context_length_exceeded"
        assert error["message"].endswith("or start the server with a larger n_ctx")
        streamed = server.post(path, {**body, "stream": True})
        assert refused(streamed, 400)["code"] == "context_length_exceeded"


def test_routes_and_methods_that_are_not_there(server: RunningServer) -> None:
    refused(server.get("/v1/nothing"), 404, "not_found_error")
    refused(server.get("/v1/completions"), 405)
    refused(server.get("/web/../../secret"), 404, "not_found_error")
    refused(server.get("/web/%2e%2e%2fapp.py"), 404, "not_found_error")


def test_models_that_are_not_there(server: RunningServer) -> None:
    error = refused(server.get("/v1/models/gpt-9"), 404, "not_found_error")
    assert error["code"] == "model_not_found" and error["param"] == "model"
    assert server.get("/v1/models/tinychat").json()["id"] == "tinychat"


def test_bodies_have_a_limit() -> None:
    with serving(max_body_bytes=10_000) as small:
        big = {"prompt": "x" * 20_000}
        refused(small.post("/v1/completions", big), 413, "request_too_large")
        headers = {"content-type": "application/json"}

        def in_chunks() -> Any:
            for _ in range(100):
                yield b" " * 1000

        response = small.client.post("/v1/completions", content=in_chunks(), headers=headers)
        refused(response, 413, "request_too_large")
        assert_serves(small)


def test_the_queue_has_a_limit() -> None:
    with serving({"n_parallel": 1}, max_queue=1) as small:
        body = {"prompt": "Once", "max_tokens": 1500, "ignore_eos": True, "stream": True}
        with (
            httpx.stream("POST", small.url + "/v1/completions", json=body, timeout=60) as first,
            httpx.stream("POST", small.url + "/v1/completions", json=body, timeout=60) as second,
        ):
            assert first.status_code == second.status_code == 200
            third = small.post("/v1/completions", body)
            assert refused(third, 429, "rate_limit_error")["code"] == "queue_full"
            assert int(third.headers["retry-after"]) >= 1
        assert_serves_in_time(small)


def assert_serves_in_time(server: RunningServer) -> None:
    # Those who left free their places with the next step, which their connections do not wait for.
    while server.post("/v1/completions", {"prompt": "Once", "max_tokens": 1}).status_code == 429:
        pass
    assert_serves(server)


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("tools", [False, True])
def test_the_conversation_cannot_be_replaced_by_the_back_door(
    server: RunningServer, name: str, tools: bool
) -> None:
    body: dict[str, Any] = {"messages": HELLO, "chat_template_kwargs": {name: []}}
    if tools:
        function = {"name": "f", "parameters": {"type": "object"}}
        body["tools"] = [{"type": "function", "function": function}]
    error = refused(server.post("/v1/chat/completions", body), 400)
    assert f"['{name}'] cannot be set" in error["message"]
    assert error["param"] == "chat_template_kwargs"
