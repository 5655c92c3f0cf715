"""Completions and chats over HTTP: shapes, usage, streams."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from server_kit import RunningServer

from llama_cpp import Llama
from llama_cpp.models import tinychat

CAPITAL = "Q: What is the capital of France? A:"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY: dict[str, Any] = {"temperature": 0}


def complete(server: RunningServer, **body: Any) -> Any:
    response = server.post("/v1/completions", {"prompt": CAPITAL, **GREEDY, **body})
    assert response.status_code == 200, response.text
    return response.json()


def chat(server: RunningServer, **body: Any) -> Any:
    response = server.post("/v1/chat/completions", {"messages": QUESTION, **GREEDY, **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_completion_is_that_of_llama(server: RunningServer) -> None:
    with Llama(tinychat(), n_ctx=2048, verbose=False, n_threads=1) as llm:
        expected: Any = llm.create_completion(CAPITAL, max_tokens=16, temperature=0)
    answer = complete(server, model="tinychat")
    assert answer["object"] == "text_completion" and answer["model"] == "tinychat"
    assert answer["choices"] == expected["choices"]
    assert answer["usage"]["prompt_tokens"] == expected["usage"]["prompt_tokens"]


def test_sixteen_tokens_are_the_default(server: RunningServer) -> None:
    answer = complete(server, prompt="Once upon a time", ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 16
    assert answer["choices"][0]["finish_reason"] == "length"


def test_usage_counts_all_choices_of_all_prompts(server: RunningServer) -> None:
    one = complete(server, prompt="Once upon a time", max_tokens=5)["usage"]
    answer = complete(
        server, prompt=["Once upon a time", CAPITAL], n=3, max_tokens=5, ignore_eos=True
    )
    other = complete(server, max_tokens=5)["usage"]
    assert len(answer["choices"]) == 6
    assert [choice["index"] for choice in answer["choices"]] == list(range(6))
    assert answer["usage"]["completion_tokens"] == 30
    assert answer["usage"]["prompt_tokens"] == one["prompt_tokens"] + other["prompt_tokens"]


@pytest.mark.parametrize(
    ("prompt", "n_tokens"), [([1, 300, 301], 3), ([[1, 300], [1, 301, 302]], 5)]
)
def test_prompts_may_be_token_ids(server: RunningServer, prompt: Any, n_tokens: int) -> None:
    answer = complete(server, prompt=prompt, max_tokens=2)
    assert answer["usage"]["prompt_tokens"] == n_tokens


@pytest.mark.parametrize("logprobs", [0, 1, 5])
@pytest.mark.parametrize("echo", [False, True])
def test_logprobs_have_completions_own_shape(
    server: RunningServer, logprobs: int, echo: bool
) -> None:
    answer = complete(server, logprobs=logprobs, echo=echo, max_tokens=4)
    choice = answer["choices"][0]
    measured = choice["logprobs"]
    n_tokens = 4 + echo * answer["usage"]["prompt_tokens"]
    assert {len(column) for column in measured.values()} == {n_tokens}
    assert choice["text"].startswith(CAPITAL) == echo
    assert (measured["token_logprobs"][0] is None) == echo
    for token, logprob, top in zip(
        measured["tokens"][echo:], measured["token_logprobs"][echo:],
        measured["top_logprobs"][echo:], strict=True,
    ):  # fmt: skip
        assert top[token] == logprob <= 0 and len(top) <= logprobs + 1
        # Parts of characters have no text and share an entry.
        assert len(top) >= logprobs or "" in top


def test_a_stream_adds_up(server: RunningServer) -> None:
    whole = complete(server, max_tokens=12)
    *events, done = server.events(
        "/v1/completions", {"prompt": CAPITAL, "max_tokens": 12, **GREEDY}
    )
    chunks = [json.loads(each) for each in events]
    assert done == "[DONE]"
    assert "".join(c["choices"][0]["text"] for c in chunks) == whole["choices"][0]["text"]
    assert all("usage" not in chunk for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_the_usage_chunk_comes_when_asked_for(server: RunningServer, path: str) -> None:
    body: dict[str, Any] = {"prompt": CAPITAL, "messages": QUESTION, "max_tokens": 4}
    *events, last, _ = server.events(path, {**body, "stream_options": {"include_usage": True}})
    assert json.loads(last)["choices"] == []
    assert json.loads(last)["usage"]["completion_tokens"] == 4
    assert all(json.loads(event)["choices"] for event in events)


def test_a_chat_knows_the_capital_of_france(server: RunningServer) -> None:
    answer = chat(server)
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    chunks = [
        json.loads(event)
        for event in server.events("/v1/chat/completions", {"messages": QUESTION, **GREEDY})[:-1]
    ]
    streamed = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
    assert streamed == answer["choices"][0]["message"]["content"]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"


def test_texts_in_parts_and_developers_are_understood(server: RunningServer) -> None:
    messages = [
        {"role": "developer", "content": "You are tinychat."},
        {"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]},
    ]
    assert "Paris" in chat(server, messages=messages)["choices"][0]["message"]["content"]


def test_tokens_have_a_cap(server: RunningServer) -> None:
    both = {"max_tokens": 50, "max_completion_tokens": 3}
    assert chat(server, ignore_eos=True, **both)["usage"]["completion_tokens"] == 3


def test_requests_are_decoded_together_with_the_results_of_each_alone(
    server: RunningServer,
) -> None:
    prompts = [f"Q: What is {a} + {b}? A:" for a in range(4) for b in range(4)]
    alone = [complete(server, prompt=prompt)["choices"][0]["text"] for prompt in prompts]
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda prompt: complete(server, prompt=prompt), prompts)
        assert [answer["choices"][0]["text"] for answer in answers] == alone


def test_text_follows_a_schema(server: RunningServer) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "maximum": 9},
        },
        "required": ["name", "age"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    content = chat(server, response_format=form, max_tokens=64)["choices"][0]["message"]["content"]
    assert json.loads(content).keys() == {"name", "age"}


def test_logit_bias_by_id_and_by_text(server: RunningServer) -> None:
    tokens = server.post("/tokenize", {"content": "Paris"}).json()["tokens"]
    bias = {str(token): 50.0 for token in tokens}
    assert "Paris" in complete(server, logit_bias=bias, max_tokens=8)["choices"][0]["text"]
    by_text = complete(server, logit_bias={"Paris": -100.0}, logit_bias_type="tokens")
    assert "Paris" not in by_text["choices"][0]["text"]


WEATHER = {
    "name": "get_weather",
    "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
    },
}  # fmt: skip
ASKED = [{"role": "user", "content": "What is the weather in Oslo?"}]


@pytest.mark.parametrize("max_tokens", [8, 12, 16, 20, 24, 28])
def test_calls_that_are_cut_off_are_told_in_every_shape(
    server: RunningServer, max_tokens: int
) -> None:
    tool = {"type": "function", "function": WEATHER}
    schema = {"name": WEATHER["name"], "input_schema": WEATHER["parameters"]}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", {"messages": ASKED, "tools": [tool], "max_tokens": max_tokens}),
        ("/v1/chat/completions", {"messages": ASKED, "functions": [WEATHER],
                                  "max_tokens": max_tokens}),
        ("/v1/responses", {"input": ASKED, "tools": [{"type": "function", **WEATHER}],
                           "max_output_tokens": max_tokens}),
        ("/v1/messages", {"messages": ASKED, "tools": [schema], "max_tokens": max_tokens}),
    ]  # fmt: skip
    for path, body in requests:
        events = server.events(path, {**body, **GREEDY})
        assert not any('"error":{' in event for event in events), events[-1]
    last = json.loads(server.events("/v1/responses", {**requests[2][1], **GREEDY})[-1])
    whole = server.post("/v1/responses", {**requests[2][1], **GREEDY}).json()
    for response in (last["response"], whole):
        cut_off = response["status"] == "incomplete"
        statuses = {item["status"] for item in response["output"][-1:]}
        assert statuses <= {"incomplete" if cut_off else "completed"}


def test_no_likeliest_tokens_are_none_whether_or_not_logprobs_are_asked_for(
    server: RunningServer,
) -> None:
    chat = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "top_logprobs": 0}
    off = server.post("/v1/chat/completions", {**chat, "logprobs": False}).json()
    assert off["choices"][0]["logprobs"] is None
    on = server.post("/v1/chat/completions", {**chat, "logprobs": True}).json()
    assert [each["top_logprobs"] for each in on["choices"][0]["logprobs"]["content"]] == [[], []]
    response = {"input": "Hi", "max_output_tokens": 16, "top_logprobs": 0}
    answer = server.post("/v1/responses", response).json()
    assert answer["output"][0]["content"][0]["logprobs"] == []


def test_constraints_of_completions(server: RunningServer) -> None:
    def text(**body: Any) -> str:
        return str(complete(server, **body)["choices"][0]["text"])

    assert text(regex="[0-9]{3}").isdigit()
    assert text(choices=["north", "south"]) in ("north", "south")
    assert text(lark='start: "(" start ")" | "()"', temperature=1, seed=1).startswith("(")
    assert json.loads(text(json_schema={"const": {"a": [1, None]}}, max_tokens=50)) == {
        "a": [1, None]
    }


def test_constraints_of_chats(server: RunningServer) -> None:
    for body, texts in (
        ({"choices": ["north", "south"]}, ("north", "south")),
        ({"json_schema": {"enum": ["x"]}}, ('"x"',)),
    ):
        assert chat(server, **body)["choices"][0]["message"]["content"] in texts


@pytest.mark.parametrize(
    "body", [{"regex": "(?=a)"}, {"choices": []}, {"regex": "a", "lark": 'start: "a"'}]
)
def test_constraints_that_cannot_be(server: RunningServer, body: dict[str, Any]) -> None:
    response = server.post("/v1/completions", {"prompt": CAPITAL, **body})
    assert response.status_code == 400, response.text
