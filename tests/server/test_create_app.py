"""Applications that programs make with ``create_app``, in the process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from llama_cpp.errors import ModelNotFoundError
from llama_cpp.llama import Llama
from llama_cpp.models import tinychat
from llama_cpp.server.app import create_app, get_llama_proxy
from llama_cpp.server.settings import ModelSettings, ServerSettings, Settings

SMALL: dict[str, Any] = {"n_ctx": 256, "n_threads": 1, "n_parallel": 1}


def application(**settings: Any) -> FastAPI:
    return create_app(settings=Settings(model=tinychat(), **SMALL, **settings))


def proxied() -> Llama:
    async def given() -> Llama:
        async for proxy in get_llama_proxy():
            return proxy()
        raise AssertionError

    # On a thread of its own: that of the tests may have a browser's loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, given()).result()


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(application()) as client:
        yield client


def test_a_test_client_is_answered(client: TestClient) -> None:
    answer = client.get("/v1/models")
    assert answer.status_code == 200
    assert [each["id"] for each in answer.json()["data"]] == ["tinychat.gguf"]
    refused = client.get("/v1/models", headers={"host": "evil.example"})
    assert refused.status_code == 200  # it never came over a socket


@pytest.mark.parametrize("name", ["gpt-3.5-turbo", "mine", "tinychat.gguf", tinychat()])
def test_one_model_answers_whatever_it_is_called(client: TestClient, name: str) -> None:
    body = {"model": name, "prompt": "Q: Hi A: ", "max_tokens": 2}
    answer = client.post("/v1/completions", json=body)
    assert (answer.status_code, answer.json()["model"]) == (200, name)


def test_the_proxy_gives_the_applications_own_model() -> None:
    app = application(model_alias="mine")
    llama = proxied()

    def handler(**arguments: Any) -> Any:
        raise LookupError("asked")

    llama.chat_format = "chatml"
    with TestClient(app) as client:
        assert proxied() is llama
        assert client.get("/v1/models").json()["data"][0]["meta"]["loaded"]
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert llama._model.handle.closed


class Double:
    def create_completion(self, **arguments: Any) -> Any:
        return {"choices": [{"text": f"double of {arguments['prompt']}"}]}

    def __iter__(self) -> Iterator[str]:
        return iter(["double"])

    def __call__(self, model: str | None = None) -> Any:
        return self


async def double() -> AsyncIterator[Double]:
    yield Double()


def test_a_proxy_that_is_overridden_answers() -> None:
    app = application()
    with TestClient(app) as client:
        app.dependency_overrides[get_llama_proxy] = double
        answer = client.post("/v1/completions", json={"prompt": "x"})
        assert answer.json() == {"choices": [{"text": "double of x"}]}
        assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["double"]
        assert client.get("/health").status_code == 200
        app.dependency_overrides.clear()
        assert client.post("/v1/completions", json={"prompt": "x"}).json()["usage"]


def test_an_application_may_be_mounted_in_another() -> None:
    app = application()
    client = TestClient(Starlette(routes=[Mount("/llm", app=app)]))
    assert [each["id"] for each in client.get("/llm/v1/models").json()["data"]] == ["tinychat.gguf"]
    app.dependency_overrides[get_llama_proxy] = double
    assert [each["id"] for each in client.get("/llm/v1/models").json()["data"]] == ["double"]


def test_a_file_of_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"model": tinychat(), "model_alias": "a", **SMALL}
    path = tmp_path / "models.json"
    path.write_text(json.dumps({"models": [model, {**model, "model_alias": "b"}]}))
    monkeypatch.setenv("CONFIG_FILE", str(path))
    with TestClient(create_app()) as client:
        assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["a", "b"]


def test_a_model_that_is_not_there_is_noticed_at_once() -> None:
    with pytest.raises(ModelNotFoundError, match=r"no model file at '/nowhere/model\.gguf'"):
        create_app(settings=Settings(model="/nowhere/model.gguf"))
    with pytest.raises(ValueError, match="no model file"):
        create_app(
            server_settings=ServerSettings(),
            model_settings=[ModelSettings(model="missing.gguf")],
        )


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N_THREADS", "")
    monkeypatch.setenv("MODEL", tinychat())
    assert Settings().n_threads is None
