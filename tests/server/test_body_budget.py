"""The bodies of all requests that are read, wait or run have one limit together."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from server_kit import RunningServer, serving

from llama_cpp.server import json_body

STORY = {"prompt": "Once", "max_tokens": 1900, "ignore_eos": True, "stream": True}


@pytest.fixture(scope="module")
def small() -> Iterator[RunningServer]:
    with serving({"n_parallel": 1}, max_total_body_bytes=100_000) as running:
        yield running


def begun(server: RunningServer, n_sent: int, n_bytes: int) -> socket.socket:
    """Send a part of a body."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {n_bytes}\r\n\r\n"
    )
    connection.sendall(head.encode() + b" " * n_sent)
    return connection


def completes(server: RunningServer, padding: int = 0) -> int:
    body = json.dumps({"prompt": "Once", "max_tokens": 1}) + " " * padding
    response = server.client.post(
        "/v1/completions", content=body, headers={"Content-Type": "application/json"}
    )
    if response.status_code == 503:
        assert response.headers["retry-after"] == "1"
        assert "too large together" in response.json()["error"]["message"]
    return response.status_code


def test_what_is_read_takes_room_until_it_leaves(small: RunningServer) -> None:
    connections = [begun(small, 20_000, 40_000) for _ in range(4)]
    while completes(small, 15_000) == 200 and completes(small, 30_000) == 200:
        time.sleep(0.01)  # until all is read
    assert completes(small, 30_000) == 503
    assert completes(small) == 200
    for connection in connections:
        connection.close()
    while completes(small, 30_000) != 200:
        time.sleep(0.01)


def test_what_waits_takes_room_until_it_is_answered(small: RunningServer) -> None:
    body = json.dumps({**STORY, "user": "a" * 80_000}).encode()
    with begun(small, 0, len(body)) as connection:
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert completes(small, 30_000) == 503
    while completes(small, 30_000) != 200:
        time.sleep(0.01)


def test_one_that_is_larger_than_all_may_be_is_refused(small: RunningServer) -> None:
    assert completes(small, 100_000) == 413
    assert completes(small, 50_000) == 200


def test_large_bodies_are_read_beside_the_event_loop(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    parsed = json_body.parsed

    def noted(body: bytes) -> object:
        threads.append(threading.current_thread().name)
        return parsed(body)

    monkeypatch.setattr(json_body, "parsed", noted)
    answers = []
    for padding in (0, 2 << 20):
        body = {"prompt": "Once", "max_tokens": 1, "user": "a" * padding}
        answers.append(server.post("/v1/completions", body))
        wrong = server.client.post(
            "/v1/completions",
            content=b'{"user": "' + b"a" * padding + b'", 5}',
            headers={"Content-Type": "application/json"},
        )
        assert wrong.status_code == 400
        assert "Expecting property name" in wrong.json()["error"]["message"]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(threads) == 2 and "uvicorn" not in threads


@pytest.mark.parametrize(
    "text",
    ["[1e400, -0.0, 1.5, 123456789012345678901234567890]", '{"a": 1, "a": 2}', "[NaN, Infinity]",
     '"\\ud800"', '"\\u0000é"', "[" * 500 + "]" * 500],
)  # fmt: skip
def test_both_parsers_read_the_same(text: str) -> None:
    assert repr(json_body.parsed(text.encode())) == repr(json.loads(text))
