"""A port that is taken; a server that is to end at once."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from server_kit import MODEL

from llama_cpp.errors import InvalidArgumentError
from llama_cpp.server import cli, model
from llama_cpp.server.serve import bound


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(model, "load")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for host in ("127.0.0.1", "localhost"):
            flags = ["--model", MODEL["model"], "--host", host, "--port", port]
            with ThreadPoolExecutor(1) as own:
                assert own.submit(cli.main, flags).result() == 1
            error = capsys.readouterr().err.splitlines()[-1]
            assert f"error: --port: port={port} of {host} cannot be listened on" in error


def test_all_addresses_of_a_host_have_the_same_port() -> None:
    sockets = bound("localhost", 0)
    try:
        assert len({each.getsockname()[1] for each in sockets}) == 1
    finally:
        for each in sockets:
            each.close()
    with pytest.raises(InvalidArgumentError, match="host=no such host is no address"):
        bound("no such host", 0)
    with pytest.raises(InvalidArgumentError, match="^host=192.0.2.1 is no address of this machine"):
        bound("192.0.2.1", 0)


def test_a_second_interrupt_ends_at_once() -> None:
    command = [sys.executable, "-m", "llama_cpp.server", "--model", MODEL["model"], "--port", "0",
               "--host", "127.0.0.1", "--n_threads", "1", "--shutdown_seconds", "600"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        log = ""

        def until(text: str) -> str:
            nonlocal log
            assert process.stderr is not None
            while text not in (line := process.stderr.readline()):
                assert line, log
                log += line
            return line

        url = until("running on http").split("running on ")[1].split()[0]
        body = {"prompt": "Once", "max_tokens": 1900, "ignore_eos": True, "stream": True,
                "logprobs": 100}  # fmt: skip
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(signal.SIGINT)
            until("Waiting for connections")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 128 + signal.SIGINT
        assert "Traceback" not in log + process.stderr.read()
