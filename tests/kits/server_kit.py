"""A real server on loopback, in a thread of the test process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from llama_cpp.models import tinychat
from llama_cpp.server.app import create_app
from llama_cpp.server.context import ServerContext
from llama_cpp.server.serve import uvicorn_config
from llama_cpp.server.settings import ModelSettings, ServerSettings

MODEL: dict[str, Any] = {"model": tinychat(), "model_alias": "tinychat", "n_threads": 1}


@dataclass(frozen=True)
class RunningServer:
    """Where it is, and what it is made of."""

    url: str
    context: ServerContext
    client: httpx.Client

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return self.client.post(path, json=body, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def events(self, path: str, body: Any, **options: Any) -> list[str]:
        """The data of all events of a stream."""
        response = self.post(path, {**body, "stream": True}, **options)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.text.splitlines()
        return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

    @property
    def busy_slots(self) -> int:
        return sum(slot["is_processing"] for slot in self.get("/slots").json())


@contextmanager
def serving(
    *models: dict[str, Any], send_buffer: int | None = None, **settings: Any
) -> Iterator[RunningServer]:
    """Serve models until the block ends.

    Args:
        models: Their settings; one is tinychat where there is none.
        send_buffer: Bytes that the system keeps of what a client has not read.
        settings: Of the server.
    """
    fixed = {"host": "127.0.0.1", "port": 0, "access_log": False, "shutdown_seconds": 5}
    server_settings = ServerSettings(**{**fixed, **settings})
    app = create_app(
        server_settings=server_settings,
        model_settings=[ModelSettings(**{**MODEL, **model}) for model in models or ({},)],
    )
    server = uvicorn.Server(uvicorn_config(app, server_settings))
    listener = socket.create_server((server_settings.host, 0))
    if send_buffer is not None:  # connections have what their listener has
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    problems: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(server.serve([listener]))
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=run, name="uvicorn")
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError(f"the server did not start: {problems}")
            thread.join(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        # One for all: each would read all certificates of the machine anew.
        with httpx.Client(base_url=url, timeout=120) as client:
            yield RunningServer(url, app.state.context, client)
    finally:
        server.should_exit = True
        thread.join()
    assert not problems
