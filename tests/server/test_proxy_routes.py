"""The functions by which programs put an application together themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import anyio
import httpx
import pytest
from fastapi import Depends, FastAPI
from server_kit import MODEL

from llama_cpp.errors import InvalidArgumentError
from llama_cpp.server import app as names
from llama_cpp.server import errors, proxy_routes
from llama_cpp.server.settings import ModelSettings, ServerSettings
from llama_cpp.server.types import CreateCompletionRequest

T = TypeVar("T")
CAPITAL = {"prompt": "Q: What is the capital of France? A:", "temperature": 0}
HEADERS = {"Authorization": "Bearer right"}


def in_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run in a thread: that of the tests may have an event loop, the browser's."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="module")
def application() -> Iterator[FastAPI]:
    names.set_server_settings(ServerSettings(api_key="right"))
    names.set_llama_proxy([ModelSettings(**MODEL)])
    app = FastAPI(dependencies=[Depends(names.authenticate)])
    errors.install(app)
    app.post("/v1/completions")(names.create_completion)
    app.post("/v1/chat/completions")(names.create_chat_completion)
    app.post("/v1/embeddings")(names.create_embedding)
    app.get("/v1/models")(names.get_models)
    app.post("/extras/tokenize")(names.tokenize)
    app.post("/extras/tokenize/count")(names.count_query_tokens)
    app.post("/extras/detokenize")(names.detokenize)
    yield app
    assert proxy_routes._llama_proxy is not None
    proxy_routes._llama_proxy.free()


def call(app: FastAPI, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, json=body, headers=headers or HEADERS)

    return in_loop(send())


def test_completions_and_chats(application: FastAPI) -> None:
    answer = call(application, "POST", "/v1/completions", CAPITAL).json()
    assert "Paris" in answer["choices"][0]["text"]
    stream = call(application, "POST", "/v1/completions", {**CAPITAL, "stream": True})
    *events, done = [line[6:] for line in stream.text.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    text = "".join(json.loads(each)["choices"][0]["text"] for each in events)
    assert text == answer["choices"][0]["text"]
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    chat = call(application, "POST", "/v1/chat/completions", {"messages": messages}).json()
    assert "Paris" in chat["choices"][0]["message"]["content"]


def test_tokens_embeddings_and_models(application: FastAPI) -> None:
    tokens = call(application, "POST", "/extras/tokenize", {"input": "Hello you"}).json()["tokens"]
    count = call(application, "POST", "/extras/tokenize/count", {"input": "Hello you"}).json()
    assert count == {"count": len(tokens)}
    text = call(application, "POST", "/extras/detokenize", {"tokens": tokens}).json()["text"]
    assert text.strip() == "Hello you"
    embedding = call(application, "POST", "/v1/embeddings", {"input": "Hello"}).json()
    assert len(embedding["data"][0]["embedding"]) == 256
    models = call(application, "GET", "/v1/models").json()["data"]
    assert [model["id"] for model in models] == ["tinychat"]


def test_keys_are_asked_for(application: FastAPI) -> None:
    wrong = call(application, "GET", "/v1/models", Authorization="Bearer wrong")
    assert wrong.status_code == 401 and wrong.json()["error"]["code"] == "invalid_api_key"


def test_a_quiet_stream_has_pings(application: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_routes, "_QUIET_SECONDS", 1e-6)
    monkeypatch.setattr(proxy_routes, "_ping_message_factory", None)
    names.set_ping_message_factory(lambda: b": here\n\n")
    stream = call(application, "POST", "/v1/completions", {**CAPITAL, "stream": True})
    assert ": here\n\n" in stream.text and stream.text.endswith("data: [DONE]\n\n")


def test_an_event_publisher_fills_a_channel(application: FastAPI) -> None:
    class Here:
        async def is_disconnected(self) -> bool:
            return False

    async def collect() -> list[str]:
        sender, receiver = anyio.create_memory_object_stream[dict[str, str]](100)
        async for proxy in names.get_llama_proxy():
            body = CreateCompletionRequest(**CAPITAL)
            kwargs: dict[str, Any] = {"prompt": body.prompt}
            llama = await names.prepare_request_resources(body, proxy, None, kwargs)
            here: Any = Here()
            await names.get_event_publisher(
                here, sender, body, None, llama.create_completion, kwargs
            )
        async with receiver:
            return [each["data"] async for each in receiver]

    *events, done = in_loop(collect())
    assert done == "[DONE]" and json.loads(events[0])["object"] == "text_completion"


def test_without_models_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_routes, "_llama_proxy", None)

    async def ask() -> None:
        async for _ in names.get_llama_proxy():
            pass

    with pytest.raises(InvalidArgumentError, match="set_llama_proxy"):
        in_loop(ask())
    assert list(names.get_server_settings())
