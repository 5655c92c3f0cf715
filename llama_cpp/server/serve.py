"""``serve``: runs the application by uvicorn."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import fields
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from ..errors import InvalidArgumentError
from ..gguf.header import read_header
from .app import create_app
from .connection import ConnectionLimits, connection_type
from .model import ModelRegistry
from .settings import ModelSettings, ServerSettings

_LOGGER = logging.getLogger("llama_cpp.server")

_LIMITS = tuple(field.name for field in fields(ConnectionLimits))
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # of IPv6 where that is off, for one


def serve(server: ServerSettings, models: Sequence[ModelSettings]) -> None:
    """Serve until a signal comes; what runs then is finished first, new requests are refused.

    Args:
        server: The server.
        models: The first one is the default.

    Raises:
        LlamaError: A model cannot be loaded, the port is taken, or the settings let everybody in by
            mistake.
    """
    server.check_certificate()
    app = create_app(server_settings=server, model_settings=list(models))
    for model in models:  # what is wrong with a file is told before anything starts
        if model.hf_model_repo_id is None:
            read_header(model.model)
    if server.interrupt_requests:
        _LOGGER.info("interrupt_requests has no effect: requests are decoded together")
    sockets = bound(server.host, server.port)  # before a model is loaded for nothing
    try:
        _Server(uvicorn_config(app, server), app.state.context.registry).run(sockets)
    finally:
        _close(sockets)


def bound(host: str, port: int) -> list[socket.socket]:
    """Take a port, at all addresses of a host; nobody is listened to yet.

    Raises:
        InvalidArgumentError: It is taken, or the host is none of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InvalidArgumentError(f"host={host} is no address of this machine: {error}") from None
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bound(family, (address[0], port, *address[2:])))
        except OSError as error:
            if error.errno not in _NOT_HERE:
                _close(sockets)
                raise _refusal(host, port, error) from None
            problem = error
        else:
            port = port or sockets[0].getsockname()[1]  # the same for all
    if not sockets and problem is not None:
        raise _refusal(host, port, problem)
    return sockets


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it lets two programs have the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # the addresses of IPv4 have a socket of their own
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _refusal(host: str, port: int, error: OSError) -> InvalidArgumentError:
    if error.errno in _NOT_HERE:
        return InvalidArgumentError(f"host={host} is no address of this machine: {error.strerror}")
    advice = "Take another port"
    if error.errno == errno.EADDRINUSE:
        advice = "End the program that has it, or take another port"
    return InvalidArgumentError(
        f"port={port} of {host} cannot be listened on: {error.strerror}. {advice}"
    )


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()


def uvicorn_config(app: FastAPI, server: ServerSettings) -> uvicorn.Config:
    """How uvicorn runs an application."""
    limits = ConnectionLimits(**{name: getattr(server, name) for name in _LIMITS})
    return uvicorn.Config(
        app,
        host=server.host,
        port=server.port,
        http=connection_type(limits),
        ssl_keyfile=server.ssl_keyfile,
        ssl_certfile=server.ssl_certfile,
        root_path=server.root_path,
        access_log=False,  # ours tells more
        log_config=None,
        log_level="warning" if not server.access_log else "info",
        timeout_graceful_shutdown=server.shutdown_seconds,
        timeout_keep_alive=30,
        ws="none",
        server_header=False,
    )


class _Server(uvicorn.Server):
    """Loads the default model first: what is wrong with it is an exception, not a line of a log."""

    def __init__(self, config: uvicorn.Config, registry: ModelRegistry) -> None:
        super().__init__(config)
        self._registry = registry

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the model and listen."""
        await self._registry.load_default()
        await super().startup(sockets)
        if sockets:
            scheme = "https" if self.config.ssl else "http"
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            logging.getLogger("uvicorn.error").info(
                "Uvicorn running on %s://%s:%d (Press CTRL+C to quit)",
                scheme, host, sockets[0].getsockname()[1],
            )  # fmt: skip

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Finish what runs; at once where nothing does yet, or where nobody wants to wait."""
        if not self.started or (self.should_exit and sig == signal.SIGINT):
            os._exit(128 + sig)  # threads that load or decode would be waited for
        super().handle_exit(sig, frame)
