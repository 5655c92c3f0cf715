"""One line for each request, and how lines look."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from server_kit import MODEL, RunningServer, serving
from starlette.testclient import TestClient

from llama_cpp.server.app import create_app
from llama_cpp.server.logs import TextFormatter
from llama_cpp.server.settings import Settings

HELLO = [{"role": "user", "content": "Hello"}]
LONG: dict[str, Any] = {"prompt": "Once upon a time", "max_tokens": 1900, "ignore_eos": True}


@contextmanager
def logged(
    caplog: pytest.LogCaptureFixture, *models: dict[str, Any], **settings: Any
) -> Iterator[tuple[RunningServer, list[dict[str, Any]]]]:
    """A server, and the lines of its requests once it has ended."""
    lines: list[dict[str, Any]] = []
    with (
        caplog.at_level(logging.INFO, "llama_cpp.server.access"),
        serving(*models, access_log=True, **settings) as server,
    ):
        yield server, lines
    for record in caplog.records:
        if record.name == "llama_cpp.server.access":
            fields: Any = record.msg
            lines.append(dict(fields))


def test_a_line_tells_what_a_request_took(caplog: pytest.LogCaptureFixture) -> None:
    with logged(caplog) as (server, lines):
        for stream in (False, True):
            body = {"prompt": "Once upon a time", "max_tokens": 8, "stream": stream, "model": "x"}
            server.post("/v1/completions", {**body, "ignore_eos": True})
        server.post("/v1/embeddings", {"input": "a text"})
        server.get("/health")
    whole, streamed, embedded, other = lines
    assert whole["input_tokens"] == streamed["input_tokens"] > 1
    assert streamed["cached_tokens"] == whole["input_tokens"] - 1
    for line in (whole, streamed):
        assert (line["model"], line["status"], line["end"]) == ("tinychat", 200, "length")
        assert (line["output_tokens"], line["client"]) == (8, "127.0.0.1")
        assert 0 < line["ttft_ms"] < line["ms"] and line["tokens_per_second"] > 0
    assert embedded["model"] == "tinychat" and "output_tokens" not in embedded
    assert embedded["input_tokens"] > 0
    assert other.keys() == {"client", "request_id", "method", "path", "status", "ms"}


def test_a_line_tells_why_a_text_ended(caplog: pytest.LogCaptureFixture) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with logged(caplog) as (server, lines):
        chat = {"messages": HELLO, "max_tokens": 64}
        for stream in (False, True):
            demanded = {"tools": [tool], "tool_choice": "required"}
            server.post("/v1/chat/completions", {**chat, **demanded, "stream": stream})
            server.post("/v1/completions", {"prompt": "a", "grammar": 'root ::= "b"'})
    assert [line["end"] for line in lines] == ["tool_calls", "stop"] * 2


def test_a_stream_whose_client_left_is_no_success(caplog: pytest.LogCaptureFixture) -> None:
    with logged(caplog) as (server, lines):
        path = f"{server.url}/v1/completions"
        with httpx.stream("POST", path, json={**LONG, "stream": True}) as answer:
            next(answer.iter_lines())
    [line] = lines
    assert (line["status"], line["end"]) == (499, "cancelled")
    assert 0 < line["output_tokens"] < 1900


def test_a_stream_that_the_server_ends_is_no_success(caplog: pytest.LogCaptureFixture) -> None:
    with logged(caplog, shutdown_seconds=0) as (server, lines):
        begun = threading.Event()

        def read() -> None:
            path = f"{server.url}/v1/completions"
            with httpx.stream("POST", path, json={**LONG, "stream": True}, timeout=60) as answer:
                for _ in answer.iter_lines():
                    begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        begun.wait()
    reader.join()
    assert [(line["status"], line["end"]) for line in lines] == [(503, "cut")]


def test_a_request_has_one_name(caplog: pytest.LogCaptureFixture) -> None:
    given = ["a-b_c.1:2", "", "a b", "x" * 129, '"status=200']
    with logged(caplog, api_key="k") as (server, lines):
        ids = [
            server.get("/v1/models", headers={"X-Request-ID": each}).headers["x-request-id"]
            for each in given
        ]
    assert ids == [line["request_id"] for line in lines]
    assert ids[0] == given[0] and len(set(ids)) == len(ids)
    assert not set(ids[1:]) & set(given)


def test_what_fails_has_a_name_and_no_traceback_for_its_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = create_app(settings=Settings(model=MODEL["model"], n_ctx=256, n_threads=1))

    @app.get("/fails")
    async def fail() -> None:
        raise ZeroDivisionError("secret")

    with TestClient(app) as client:
        answer = client.get("/fails", headers={"X-Request-ID": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in answer.text and "a request failed" in caplog.text


@pytest.mark.parametrize(
    "body",
    [{"grammar": "root ::= ("}, {"grammar": "root ::= \x1b[31m"}, {"grammar": 'x ::= "a"'},
     {"grammar": 'root ::= root "a"'}],
    ids=str,
)  # fmt: skip
def test_what_a_client_gives_is_no_error_of_the_server(
    caplog: pytest.LogCaptureFixture, body: dict[str, Any]
) -> None:
    with logged(caplog) as (server, lines):
        assert server.post("/v1/completions", {"prompt": "a", **body}).status_code == 400
    assert [line["status"] for line in lines] == [400]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_messages_begin_no_line_and_colour_no_terminal() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 1, "a\n\x1b[31m\u2028é\t", None, None)
    assert TextFormatter("%(message)s").format(record) == "a\\x0a\\x1b[31m\\u2028é\t"


RUN = """
import logging, os, signal, sys, threading
from llama_cpp.server import cli, serve

def ask():
    import urllib.request
    line = sys.stdin.readline()
    urllib.request.urlopen(line.strip() + "/health").read()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=ask).start()
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_servers_log_is_of_one_format(log_format: str) -> None:
    command = [sys.executable, "-c", RUN, "--model", MODEL["model"], "--host", "127.0.0.1",
               "--port", "0", "--n_threads", "1", "--log-format", log_format]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "running on http" in line:
                process.stdin.write(line.split("running on ")[1].split()[0] + "\n")
                process.stdin.flush()
    about_request = [line for line in lines if "/health" in line]
    assert len(about_request) == 1
    if log_format == "text":
        assert 'method=GET path="/health" status=200' in about_request[0]
        return
    records = [json.loads(line) for line in lines]
    assert all({"time", "level", "logger", "message"} <= record.keys() for record in records)
    assert json.loads(about_request[0]).items() >= {
        "level": "INFO", "logger": "llama_cpp.server.access", "method": "GET",
        "path": "/health", "status": 200, "client": "127.0.0.1",
    }.items()  # fmt: skip
