"""``serve``: runs the application by uvicorn."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from dataclasses import fields

import uvicorn
from fastapi import FastAPI

from ..gguf.header import read_header
from .app import create_app
from .connection import ConnectionLimits, connection_type
from .model import ModelRegistry
from .settings import ModelSettings, ServerSettings

_LOGGER = logging.getLogger("llama_cpp.server")


_LIMITS = tuple(field.name for field in fields(ConnectionLimits))


def serve(server: ServerSettings, models: Sequence[ModelSettings]) -> None:
    """Serve until a signal comes; what runs then is finished first, new requests are refused.

    Args:
        server: The server.
        models: The first one is the default.

    Raises:
        LlamaError: A model cannot be loaded, or the settings let everybody in by mistake.
    """
    server.check_certificate()
    app = create_app(server_settings=server, model_settings=list(models))
    for model in models:  # what is wrong with a file is told before anything starts
        if model.hf_model_repo_id is None:
            read_header(model.model)
    if server.interrupt_requests:
        _LOGGER.info("interrupt_requests has no effect: requests are decoded together")
    config = uvicorn_config(app, server)
    _Server(config, app.state.context.registry).run()


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

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the model and serve."""
        await self._registry.load_default()
        await super().serve(sockets)
