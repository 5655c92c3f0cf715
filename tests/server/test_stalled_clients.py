"""Clients that take what they are sent too slowly, or not at all."""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any

from server_kit import RunningServer, serving

STORY: dict[str, Any] = {
    "prompt": "Once upon a time", "max_tokens": 1900, "ignore_eos": True, "stream": True
}  # fmt: skip


def wait_until(condition: Any) -> None:
    while not condition():
        time.sleep(0.01)


def is_reset(connection: socket.socket) -> bool:
    """Whether the server has given a connection up; nothing is read for that."""
    poll = select.poll()
    poll.register(connection, select.POLLHUP)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def never_reading(server: RunningServer, *bodies: dict[str, Any]) -> socket.socket:
    """Ask for something, several times on one connection if there are several bodies."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    for body in bodies:
        content = json.dumps(body).encode()
        head = (
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        connection.sendall(head.encode() + content)
    return connection


def test_those_that_never_read_lock_nobody_out() -> None:
    with serving({"n_parallel": 2}, max_queue=4, send_timeout=1, send_buffer=4096) as server:
        runner = server.context.registry.runners["tinychat"]
        connections = [never_reading(server, STORY) for _ in range(6)]
        wait_until(lambda: runner.n_active == 6)
        wait_until(lambda: runner.n_active == 0)
        assert server.post("/v1/completions", {"prompt": "Once"}).status_code == 200
        for connection in connections:
            wait_until(lambda each=connection: is_reset(each))
            connection.close()


def test_a_whole_answer_that_nobody_reads_is_dropped() -> None:
    with serving({"n_parallel": 1}, send_timeout=0.3, send_buffer=4096) as server:
        body = {"prompt": "Once", "max_tokens": 30, "logprobs": 100}
        with never_reading(server, body) as connection:
            wait_until(lambda: is_reset(connection))


def test_pings_are_sent_to_nobody_for_ever() -> None:
    # Those that wait in the queue get nothing but comments.
    limits = {"send_timeout": 0.3, "ping_seconds": 0.0001, "max_queue": 2}
    with serving({"n_parallel": 1}, send_buffer=4096, **limits) as server:
        waiting = [never_reading(server, STORY) for _ in range(3)]
        for each in waiting:
            wait_until(lambda each=each: is_reset(each))
            each.close()


def test_who_reads_slowly_but_reads_gets_everything() -> None:
    with serving({"n_parallel": 1}, send_timeout=2, send_buffer=4096) as server:
        received, rests = b"", 0
        with never_reading(server, STORY) as connection:
            while not received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
                received += connection.recv(1 << 18)
                if len(received) // 20_000 > rests:
                    rests += 1
                    time.sleep(0.15)
        assert rests > 13  # together longer than the time limit


def test_who_asks_many_things_at_once_and_leaves_is_forgotten() -> None:
    with serving({"n_parallel": 1}) as server:
        runner = server.context.registry.runners["tinychat"]
        connection = never_reading(server, STORY, STORY, STORY)
        wait_until(lambda: server.busy_slots == 1)
        connection.close()
        wait_until(lambda: runner.n_active == 0)
        [slot] = server.get("/slots").json()
        assert slot["n_tokens"] < 1900
