"""A real server on loopback, in a thread of the test process."""

from __future__ import annotations

import asyncio
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
    *models: dict[str, Any], timeout_graceful_shutdown: int = 5, **settings: Any
) -> Iterator[RunningServer]:
    """Serve models until the block ends.

    Args:
        models: Their settings; one is tinychat where there is none.
        timeout_graceful_shutdown: In seconds.
        settings: Of the server.
    """
    server_settings = ServerSettings(**{"host": "127.0.0.1", "access_log": False, **settings})
    app = create_app(
        server_settings=server_settings,
        model_settings=[ModelSettings(**{**MODEL, **model}) for model in models or ({},)],
    )
    config = uvicorn.Config(
        app, host=server_settings.host, port=0, log_level="warning", ws="none",
        timeout_graceful_shutdown=timeout_graceful_shutdown, root_path=server_settings.root_path,
    )  # fmt: skip
    server = uvicorn.Server(config)
    problems: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(server.serve())
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=run, name="uvicorn")
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError(f"the server did not start: {problems}")
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        # One for all: each would read all certificates of the machine anew.
        with httpx.Client(base_url=url, timeout=120) as client:
            yield RunningServer(url, app.state.context, client)
    finally:
        server.should_exit = True
        thread.join()
    assert not problems
