"""How requests are served: limits of time, priorities, fair shares, full contexts, timings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from server_kit import RunningServer, serving

from llama_cpp.engine import Engine

PROMPT = "Once upon a time"
CHAT = [{"role": "user", "content": "What is the capital of France?"}]
LONG = [
    {"role": role, "content": "word " * 150} for _ in range(8) for role in ("user", "assistant")
]


@pytest.fixture(scope="module")
def narrow() -> Iterator[RunningServer]:
    """One request at a time, for two keys, in a small context."""
    with serving({"n_parallel": 1, "n_ctx": 512}, api_key="first,schlüssel") as running:
        yield running


def key(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


def post(server: RunningServer, path: str, body: Any, **headers: str) -> Any:
    answer = server.client.post(path, json=body, headers=headers or key("first"))
    assert answer.status_code == 200, answer.text
    return answer.json()


def engine_of(server: RunningServer) -> Engine:
    return server.context.registry.runners["tinychat"].llama.engine


def wait_for(engine: Engine, n_waiting: int) -> None:
    while len(engine._waiting) < n_waiting:
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/completions", {"prompt": PROMPT}, lambda a: a["choices"][0]["finish_reason"]),
        ("/v1/chat/completions", {"messages": CHAT}, lambda a: a["choices"][0]["finish_reason"]),
        ("/v1/responses", {"input": PROMPT}, lambda a: a["incomplete_details"]["reason"]),
    ],
)
def test_time_is_limited(narrow: RunningServer, path: str, body: Any, told: Any) -> None:
    assert told(post(narrow, path, {**body, "timeout": 0})) == "timeout"


def test_messages_end_in_time(narrow: RunningServer) -> None:
    body = {"messages": CHAT, "max_tokens": 5, "timeout": 0}
    assert post(narrow, "/v1/messages", body)["stop_reason"] == "max_tokens"


def test_whose_turn_it_is(narrow: RunningServer) -> None:
    """Keys take turns, however many requests one of them has; a priority is before that."""
    body: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 4, "ignore_eos": True}
    post(narrow, "/v1/completions", body)
    engine = engine_of(narrow)
    keys = ["first", "first", "first", "schlüssel", "first"]
    with ThreadPoolExecutor(len(keys)) as pool, engine.exclusive():
        answers = []
        for number, name in enumerate(keys):
            headers = {b"authorization": b"Bearer " + name.encode()}
            asked = {**body, "priority": int(number == 4)}
            answers.append(
                pool.submit(narrow.client.post, "/v1/completions", json=asked, headers=headers)
            )
            wait_for(engine, number + 1)
        requests = sorted(engine._waiting, key=lambda request: request.number)
    assert [answer.result().status_code for answer in answers] == [200] * len(keys)
    assert len({request.terms.account for request in requests}) == 2
    order = sorted(range(len(keys)), key=lambda number: requests[number].admit_time or 0)
    assert order == [4, 3, 0, 1, 2]


def test_priorities_have_a_limit() -> None:
    with serving({"n_parallel": 1}, max_priority=1) as server:
        body: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 1}
        assert server.post("/v1/completions", body).status_code == 200
        engine = engine_of(server)
        with ThreadPoolExecutor(3) as pool, engine.exclusive():
            for number, priority in enumerate((-5, 1, 9), 1):
                pool.submit(server.post, "/v1/completions", {**body, "priority": priority})
                wait_for(engine, number)
            assert [request.terms.priority for request in engine._waiting] == [1, 1, -5]


def test_a_conversation_is_trimmed_where_that_is_asked_for(narrow: RunningServer) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *LONG, *CHAT]
    body = {"messages": messages, "max_tokens": 5}
    refused = narrow.client.post("/v1/chat/completions", json=body, headers=key("first"))
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "context_length_exceeded")
    assert error["n_prompt_tokens"] > error["n_ctx"] == 512
    answer = post(narrow, "/v1/chat/completions", {**body, "overflow": "trim"})
    assert answer["trimmed_messages"][0] == 1
    items = {"input": messages, "max_output_tokens": 5}
    refused = narrow.client.post("/v1/responses", json=items, headers=key("first"))
    assert refused.status_code == 400
    response = post(narrow, "/v1/responses", {**items, "truncation": "auto"})
    assert response["truncation"] == "auto"
    assert response["usage"]["input_tokens"] == answer["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": -1}, {"timeout": True}, {"priority": "high"}, {"overflow": "cut"},
        {"overflow": "trim"}, {"timings": 5},
    ],
)  # fmt: skip
def test_other_values_are_refused(server: RunningServer, wrong: Any) -> None:
    answer = server.post("/v1/completions", {"prompt": PROMPT, **wrong})
    assert answer.status_code == 400
    assert next(iter(wrong)) in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/completions", {"prompt": PROMPT}), ("/v1/chat/completions", {"messages": CHAT})],
)
def test_timings_and_progress_are_llama_servers(
    server: RunningServer, path: str, body: Any
) -> None:
    body = {**body, "max_tokens": 4, "temperature": 0}
    whole = server.post(path, {**body, "timings": True}).json()
    assert whole["timings"]["predicted_n"] == whole["usage"]["completion_tokens"]
    *events, done = server.events(
        path, {**body, "timings_per_token": True, "return_progress": True}
    )
    assert done == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert all("timings" in chunk for chunk in chunks)
    told = [chunk["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk]
    assert told[-1]["processed"] == told[-1]["total"] == whole["usage"]["prompt_tokens"]
    assert "timings" not in server.post(path, body).json()
