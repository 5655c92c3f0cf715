"""Clients that leave, that are slow, that send nothing; a server that is told to stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest
from server_kit import MODEL, RunningServer, serving

LONG: dict[str, Any] = {"prompt": "Once upon a time", "max_tokens": 1900, "ignore_eos": True}


def wait_until(condition: Any) -> None:
    """Wait for what has to come; the time limit of tests ends what does not."""
    while not condition():
        time.sleep(0.001)


def raw_request(server: RunningServer, body: dict[str, Any]) -> socket.socket:
    content = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reset", [True, False])
def test_a_client_that_leaves_frees_its_slot(
    server: RunningServer, stream: bool, reset: bool
) -> None:
    connection = raw_request(server, {**LONG, "stream": stream})
    wait_until(lambda: server.busy_slots == 1)
    if reset:  # RST in place of FIN
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    wait_until(lambda: server.busy_slots == 0)
    assert server.context.registry.runners["tinychat"].n_active == 0


def test_a_client_that_leaves_during_its_prompt_frees_its_slot() -> None:
    with serving({"n_ctx": 2048, "n_ubatch": 16, "n_batch": 16, "n_parallel": 2}) as slow:
        prompt = [1, *range(300, 1700)]
        connection = raw_request(slow, {"prompt": prompt, "max_tokens": 4, "stream": True})
        wait_until(lambda: slow.busy_slots == 1)
        connection.close()
        wait_until(lambda: slow.busy_slots == 0)
        slots = slow.get("/slots").json()
        assert max(slot["n_tokens"] for slot in slots) < len(prompt)


def test_a_slow_reader_holds_nobody_up(server: RunningServer) -> None:
    body = {**LONG, "max_tokens": 600, "stream": True}
    connections = [raw_request(server, body) for _ in range(3)]
    answer = server.post("/v1/completions", {"prompt": "Once", "max_tokens": 8})
    assert answer.status_code == 200
    # All of it is there for who comes to read it later.
    wait_until(lambda: server.busy_slots == 0)
    for connection in connections:
        received = b""
        while not received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
            received += connection.recv(1 << 16)
        assert received.count(b'"finish_reason":"length"') == 1
        connection.close()


def test_connections_that_send_nothing_are_no_burden(server: RunningServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    half = idle[:50]
    for connection in half:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Le")
    assert server.post("/v1/completions", {"prompt": "Once", "max_tokens": 2}).status_code == 200
    for connection in idle:
        connection.close()
    assert server.get("/health").status_code == 200


@pytest.mark.parametrize(
    "noise",
    [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 1000,
     b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n"],
    ids=range(6),
)  # fmt: skip
def test_what_is_no_http_is_no_failure(server: RunningServer, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(30)
        try:
            connection.sendall(noise)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(100)
        except ConnectionError:
            answer = b""
        assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert server.get("/health").status_code == 200


def test_what_is_no_http_is_told_so_and_never_within_an_answer(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"no http\r\n\r\n")
        received = b""
        while part := connection.recv(1 << 16):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    streaming = raw_request(server, {**LONG, "stream": True})
    received = streaming.recv(100)
    with suppress(ConnectionError), streaming:
        streaming.sendall(b"no http\r\n\r\n")
        while part := streaming.recv(1 << 16):
            received += part
    assert received.count(b"HTTP/1.1 ") == 1
    wait_until(lambda: server.busy_slots == 0)


def test_quiet_streams_have_comments() -> None:
    with serving({"n_parallel": 1}, ping_seconds=0.05) as server:
        busy = raw_request(server, {**LONG, "stream": True})
        wait_until(lambda: server.busy_slots == 1)
        # The second one waits for the first, and hears of it.
        body = {"prompt": "Once", "max_tokens": 1, "stream": True}
        with httpx.stream("POST", f"{server.url}/v1/completions", json=body) as quiet:
            assert next(quiet.iter_lines()) == ": ping"
        busy.close()


@pytest.mark.parametrize("path", ["/health", "/"])
def test_probes_may_ask_without_a_body(server: RunningServer, path: str) -> None:
    response = server.client.head(path)
    assert (response.status_code, response.content) == (200, b"")


def test_what_runs_is_finished_when_the_server_stops() -> None:
    results: list[httpx.Response] = []
    with serving(shutdown_seconds=60) as server:
        body = {**LONG, "max_tokens": 1000}
        threads = [
            threading.Thread(
                target=lambda: results.append(
                    httpx.post(f"{server.url}/v1/completions", json=body, timeout=120)
                )
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: server.context.registry.runners["tinychat"].n_active == 4)
    for thread in threads:
        thread.join()
    assert [r.json()["usage"]["completion_tokens"] for r in results] == [1000] * 4


def test_sigterm_under_load_ends_the_process_when_its_work_is_done() -> None:
    command = [sys.executable, "-m", "llama_cpp.server", "--model", MODEL["model"], "--port", "0",
               "--n_parallel", "2", "--n_threads", "1", "--shutdown_seconds", "60"]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PORT"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        url = ""
        while not url:
            line = process.stderr.readline()
            assert line, "the server ended"
            if "running on http" in line:
                url = line.split("running on ")[1].split()[0]
        drain = threading.Thread(target=process.stderr.read)
        drain.start()
        body = {**LONG, "max_tokens": 300, "stream": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=120) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = list(lines)
        assert rest[-2:] == ["data: [DONE]", ""]
        assert process.wait() in (0, -signal.SIGTERM)
        drain.join()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/messages"])
def test_who_is_not_answered_in_time_is_told_that_the_server_ends(path: str) -> None:
    messages = {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 1900}
    body = LONG if path == "/v1/completions" else messages
    answers: dict[str, httpx.Response] = {}

    def ask(name: str, path: str, body: dict[str, Any]) -> None:
        answers[name] = httpx.post(f"{server.url}{path}", json=body, timeout=60)

    requests = [
        ("running", "/v1/completions", {**LONG, "stream": True}),
        ("streamed", path, {**body, "stream": True}),
        ("whole", path, body),
    ]
    threads = []
    with serving({"n_parallel": 1}, shutdown_seconds=0) as server:
        runner = server.context.registry.runners["tinychat"]
        for request in requests:
            threads.append(threading.Thread(target=ask, args=request))
            threads[-1].start()
            wait_until(lambda: runner.n_active == len(threads))
    for thread in threads:
        thread.join()
    assert answers["whole"].status_code == 503
    assert "the server ends" in answers["whole"].json()["error"]["message"]
    for name in ("running", "streamed"):
        *_, last = [line for line in answers[name].text.splitlines() if line.startswith("data: ")]
        assert "the server ends" in json.loads(last.removeprefix("data: "))["error"]["message"]
