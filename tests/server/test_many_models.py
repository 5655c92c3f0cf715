"""Several models: by name, on demand, unloaded when memory is wanted or nobody comes."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from media_bytes import noise, png, uri
from server_kit import MODEL, serving
from zoo import Zoo, write_lora

from llama_cpp.errors import InvalidArgumentError, ModelNotFoundError
from llama_cpp.server.app import create_app
from llama_cpp.server.model import LlamaProxy
from llama_cpp.server.settings import ModelSettings, ServerSettings


def small(path: Path, alias: str, **settings: Any) -> dict[str, Any]:
    return {"model": str(path), "model_alias": alias, "n_ctx": 256, **settings}


def test_models_are_loaded_when_they_are_asked_for(zoo: Zoo) -> None:
    with serving({}, small(zoo.llama, "tiny, other-name")) as server:
        assert list(server.context.registry.runners) == ["tinychat"]
        listed = server.get("/v1/models").json()["data"]
        assert [model["id"] for model in listed] == ["tinychat", "tiny", "other-name"]
        for name in ("tiny", "other-name", "tinychat"):
            answer = server.post("/v1/completions", {"prompt": "a", "model": name, "max_tokens": 1})
            assert answer.json()["model"] == name
        assert list(server.context.registry.runners) == ["tinychat", "tiny"]
        missing = server.post("/v1/completions", {"prompt": "a", "model": "none"})
        assert missing.status_code == 404
        assert server.get("/props?model=other-name").json()["model_path"] == str(zoo.llama)
        assert server.get("/props").json()["model_alias"] == "tinychat"
        assert server.get("/props?model=none").status_code == 404


def test_with_one_model_without_alias_any_name_will_do() -> None:
    with serving({"model_alias": None}) as server:
        for model in ("gpt-4", MODEL["model"], None):
            body = {"prompt": "Once", "model": model, "max_tokens": 1}
            assert server.post("/v1/completions", body).status_code == 200


def test_what_was_used_longest_ago_is_unloaded_for_another(zoo: Zoo) -> None:
    with serving(small(zoo.llama, "a")) as server:
        size = sum(server.context.registry._sizes.values())
    models = [small(zoo.llama, name) for name in "abc"]
    with serving(*models, models_memory_limit=int(2.5 * size)) as server:
        for name in "abac":
            answer = server.post("/v1/completions", {"prompt": "x", "model": name, "max_tokens": 1})
            assert answer.status_code == 200
        assert set(server.context.registry.runners) == {"a", "c"}


def test_a_model_in_use_is_not_unloaded(zoo: Zoo) -> None:
    with serving(small(zoo.llama, "a")) as server:
        size = sum(server.context.registry._sizes.values())
    models = [small(zoo.llama, name, n_ctx=2048) for name in "ab"]
    with serving(*models, models_memory_limit=100 * size) as server:
        server.context.settings.models_memory_limit = None
        body = {"prompt": [1], "max_tokens": 2000, "ignore_eos": True, "stream": True, "model": "a"}
        with httpx.stream("POST", f"{server.url}/v1/completions", json=body) as stream:
            lines = stream.iter_lines()
            next(lines)
            server.context.settings.models_memory_limit = int(1.5 * size)
            refused = server.post("/v1/completions", {"prompt": [1], "model": "b"})
            assert refused.status_code == 503
            assert "a" in server.context.registry.runners
            assert list(lines)[-2] == "data: [DONE]"


def test_idle_models_are_unloaded_and_come_back() -> None:
    with serving(idle_unload_seconds=0.2) as server:
        while server.context.registry.runners:
            time.sleep(0.02)
        answers: list[int] = []

        def ask() -> None:
            body = {"prompt": "Once", "max_tokens": 1}
            answers.append(server.post("/v1/completions", body).status_code)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 4


def test_a_model_that_is_too_large_costs_the_others_nothing(zoo: Zoo) -> None:
    large = {"model": MODEL["model"], "model_alias": "large", "n_ctx": 2048}
    with serving(small(zoo.llama, "a"), large) as server:
        server.context.settings.models_memory_limit = 5_000_000  # its file alone is larger
        for _ in range(2):
            assert server.post("/v1/completions", {"model": "large"}).status_code == 503
            assert list(server.context.registry.runners) == ["a"]


def test_a_client_that_does_not_wait_for_a_load_starts_no_other(zoo: Zoo) -> None:
    with serving({}, small(zoo.llama, "late")) as server:
        registry = server.context.registry
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                server.post("/v1/embeddings", {"input": "a", "model": "late"}, timeout=0.001)
        while "late" not in registry.runners or registry.runners["late"].n_leases:
            time.sleep(0.01)
        assert server.post("/v1/embeddings", {"input": "a", "model": "late"}).status_code == 200
        assert registry.runners["late"].n_active == 0


def test_adapters_by_name(zoo: Zoo, tmp_path: Path) -> None:
    path = str(write_lora(tmp_path / "lora.gguf"))
    with serving(small(zoo.llama, "tiny", lora_adapters={"mine": path})) as server:
        body = {"prompt": [1, 300, 301], "max_tokens": 8, "temperature": 0, "ignore_eos": True}
        plain = server.post("/v1/completions", body).json()["choices"]
        adapted = server.post("/v1/completions", {**body, "lora": {"mine": 1.0}}).json()["choices"]
        assert plain != adapted
        assert server.post("/v1/completions", body).json()["choices"] == plain


def test_states_are_cached() -> None:
    with serving({"cache": True, "n_parallel": 1}) as server:
        long = "Q: What is the capital of France? A: Paris. " * 10
        for prompt in (long, "Once upon a time there was a fox who lived in a wood. " * 5):
            server.post("/v1/completions", {"prompt": prompt, "max_tokens": 1})
        answer = server.post("/v1/completions", {"prompt": long, "max_tokens": 1}).json()
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] > 100


def test_the_models_of_a_server_are_checked_when_it_starts(tmp_path: Path) -> None:
    same = ModelSettings(**MODEL)
    with pytest.raises(InvalidArgumentError, match="two models are called 'tinychat'"):
        create_app(server_settings=ServerSettings(), model_settings=[same, same])
    with pytest.raises(InvalidArgumentError, match="there is no model"):
        LlamaProxy([])
    with pytest.raises(ModelNotFoundError):
        LlamaProxy([ModelSettings(model=str(tmp_path / "none.gguf"))])


def test_a_proxy_has_one_model_at_a_time(zoo: Zoo) -> None:
    proxy = LlamaProxy([ModelSettings(**small(zoo.llama, "a")), ModelSettings(**MODEL)])
    first = proxy("a")
    assert proxy() is first and proxy("unknown") is first
    second = proxy("tinychat")
    assert second is not first and second.create_completion("Once", max_tokens=1)
    proxy["more"] = proxy["a"]
    assert proxy("more").n_ctx() == 256
    proxy.free()


def test_images_come_as_data_and_from_nowhere_else(zoo: Zoo) -> None:
    model = small(
        zoo.llama, "seer", n_ctx=1024, clip_model_path=str(zoo.image_mmproj), n_parallel=2
    )
    with serving(model) as server:

        def ask(url: str) -> httpx.Response:
            parts = [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": "What is this?"},
            ]
            body = {"messages": [{"role": "user", "content": parts}], "max_tokens": 4}
            return server.post("/v1/chat/completions", body)

        answer = ask(uri(png(noise(1))))
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["prompt_tokens"] > 10
        for url in ("http://127.0.0.1:1/a.png", "file:///etc/passwd", "/etc/passwd", "data:,x"):
            refused = ask(url)
            assert refused.status_code == 400 and "root:" not in refused.text
