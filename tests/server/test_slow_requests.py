"""Requests that come byte by byte, without end, or without an end of their headers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from server_kit import RunningServer, serving

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
KEY = b"Authorization: Bearer k\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def strict() -> Iterator[RunningServer]:
    """A server that waits half a second, and wants a key."""
    with serving(
        {"n_parallel": 1}, header_timeout=0.5, body_timeout=0.5, max_header_bytes=4096, api_key="k"
    ) as running:
        yield running


def connected(server: RunningServer, start: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(start)
    return connection


def answer(connection: socket.socket) -> bytes:
    received = b""
    while part := connection.recv(1 << 16):
        received += part
    return received


def dripping(connection: socket.socket, part: bytes) -> None:
    """Send the same again and again until the server has had enough."""
    try:
        while True:
            connection.sendall(part)
            time.sleep(0.02)
    except OSError:
        return


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (b"", b"\r\n"),
        (b"GET /", b"a"),
        (GET, b"a"),
        (GET, b"a: b\r\n"),
        (HEAD + KEY + b"Content-Length: 9999\r\n\r\n", b" "),
        (HEAD + KEY + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (GET + b"\r\n", b"\r\n"),
        (GET + b"\r\nGET ", b"/"),
    ],
    ids=["nothing", "path", "name", "headers", "body", "chunks", "later nothing", "later path"],
)
def test_who_never_comes_to_an_end_is_told_so(
    strict: RunningServer, start: bytes, part: bytes
) -> None:
    with connected(strict, start) as connection:
        dripper = threading.Thread(target=dripping, args=(connection, part))
        dripper.start()
        received = answer(connection)
        dripper.join()
    assert b"HTTP/1.1 408 " in received
    assert strict.get("/health").status_code == 200


def test_who_is_refused_may_not_go_on_for_ever(strict: RunningServer) -> None:
    with connected(strict, HEAD + b"Content-Length: 9999\r\n\r\n") as connection:
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 401 ")
        dripping(connection, b" ")


def test_a_silent_connection_is_closed(strict: RunningServer) -> None:
    with connected(strict) as connection:
        head, _, body = answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert "within 0.5 seconds" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    "parts",
    [
        [GET, *[b"x" * 4096] * 200],
        [GET, *[b"a: " + b"b" * 100 + b"\r\n"] * 4000],
        [b"GET /" + b"a" * 8192],
        [GET + b"a: " + b"b" * 8192 + b"\r\n\r\n"],
    ],
    ids=["one line", "many lines", "path", "at once"],
)
def test_large_heads_are_refused_before_the_key_is_looked_at(
    strict: RunningServer, parts: list[bytes]
) -> None:
    with connected(strict) as connection:
        for part in parts:
            connection.sendall(part)
        assert answer(connection).startswith(b"HTTP/1.1 431 ")


def test_large_bodies_and_many_requests_are_no_large_heads(strict: RunningServer) -> None:
    body = json.dumps({"prompt": "word " * 20_000, "max_tokens": 1}).encode()
    request = HEAD + KEY + b"Content-Length: %d\r\n\r\n" % len(body)
    with connected(strict) as connection:
        connection.sendall((GET + b"\r\n") * 200)
        connection.sendall(request)
        for start in range(0, len(body), 10_000):
            connection.sendall(body[start : start + 10_000])
        connection.sendall(GET + b"Connection: close\r\n\r\n")
        received = answer(connection)
    assert received.count(b"HTTP/1.1 200 ") == 201
    assert received.count(b"context_length_exceeded") == 1


def test_the_next_request_may_begin_while_one_is_answered(strict: RunningServer) -> None:
    body = b'{"prompt": "Once", "max_tokens": 1900, "ignore_eos": true, "logprobs": 20}'
    request = HEAD + KEY + b"Content-Length: %d\r\n\r\n" % len(body)
    with connected(strict, request + body + GET) as connection:
        time.sleep(0.6)
        while strict.client.get("/slots", headers={"x-api-key": "k"}).json()[0]["is_processing"]:
            time.sleep(0.05)
        connection.sendall(b"Connection: close\r\n\r\n")
        assert answer(connection).count(b"HTTP/1.1 200 ") == 2
