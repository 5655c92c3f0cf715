"""HTTPS: the same limits, and an end that waits for nobody."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from server_kit import MODEL

from llama_cpp.server.connection import ConnectionLimits, connection_type

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and its certificate."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
               "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


@contextmanager
def tls_server(
    certificate: tuple[Path, Path], *flags: str
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run a server that would wait for ten minutes at its end; yield its port and process."""
    command = [sys.executable, "-m", "llama_cpp.server", "--model", MODEL["model"], "--port", "0",
               "--n_ctx", "256", "--n_threads", "1", "--host", "127.0.0.1",
               "--ssl_keyfile", str(certificate[0]), "--ssl_certfile", str(certificate[1]),
               "--shutdown_seconds", "600", *flags]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            while "running on https" not in (line := process.stderr.readline()):
                assert line, "the server ended"
            threading.Thread(target=process.stderr.read).start()
            yield int(line.split("running on ")[1].split()[0].rpartition(":")[2]), process
        finally:
            process.kill()


def connected(port: int) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port)))


def test_idle_clients_do_not_hold_the_exit(certificate: tuple[Path, Path]) -> None:
    with tls_server(certificate) as (port, process):
        silent = socket.create_connection(("127.0.0.1", port))
        with silent, connected(port) as new, connected(port) as half, connected(port) as client:
            half.sendall(GET[:20])
            client.sendall(GET)
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            process.send_signal(signal.SIGTERM)
            # asyncio itself gives clients up after 30 seconds.
            assert process.wait(20) in (0, -signal.SIGTERM)
            assert new.recv(1) == b""


def test_slow_heads_are_refused(certificate: tuple[Path, Path]) -> None:
    flags = ("--header_timeout", "0.5", "--max_header_bytes", "4096")
    with tls_server(certificate, *flags) as (port, _):
        for start, status in ((GET[:20], 408), (b"GET /" + b"a" * 5000, 431)):
            with connected(port) as client:
                client.sendall(start)
                assert client.recv(4096).startswith(b"HTTP/1.1 %d " % status)
                while client.recv(4096):
                    pass


def test_a_client_that_does_not_say_goodbye_is_forgotten_by_asyncio_too(
    certificate: tuple[Path, Path],
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    problems: list[dict[str, Any]] = []

    async def run(server: uvicorn.Server, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, problem: problems.append(problem))
        await server.serve([listener])

    key, chain = certificate
    limits = ConnectionLimits(
        send_timeout=60, header_timeout=60, body_timeout=60, max_header_bytes=4096
    )
    config = uvicorn.Config(
        app, http=connection_type(limits), ws="none", lifespan="off", log_config=None,
        ssl_keyfile=key, ssl_certfile=chain,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Not uvloop's, whose TLS is another.
        thread = threading.Thread(target=lambda: asyncio.run(run(server, listener)))
        thread.start()
        with connected(listener.getsockname()[1]) as client:
            client.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert client.recv(4096).startswith(b"HTTP/1.1 204 ")
            server.should_exit = True
            thread.join(20)  # asyncio itself gives clients up after 30 seconds
            assert not thread.is_alive()
    assert problems == []
