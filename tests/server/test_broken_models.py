"""Models in which the engine failed: the request is told so, and the next one is answered."""

from __future__ import annotations

from typing import Any

import pytest
from server_kit import serving

from llama_cpp import llama_cpp as raw
from llama_cpp.native import assertions
from llama_cpp.native.backend import failed

COMPLETION = ("/v1/completions", {"prompt": "Once", "max_tokens": 4})
STREAM = ("/v1/completions", {"prompt": "Once", "max_tokens": 4, "stream": True})
EMBEDDING = ("/v1/embeddings", {"input": "Once"})
TOKENS = ("/tokenize", {"content": "Once"})


@pytest.mark.parametrize(
    ("function", "request_"),
    [
        ("llama_decode", COMPLETION),
        ("llama_decode", STREAM),
        ("llama_decode", EMBEDDING),
        ("llama_tokenize", TOKENS),
    ],
    ids=["completion", "stream", "embedding", "tokens"],
)
def test_a_model_in_which_the_engine_failed_is_loaded_anew(
    monkeypatch: pytest.MonkeyPatch, function: str, request_: tuple[str, dict[str, Any]]
) -> None:
    def fail(*_: Any) -> Any:
        raise failed("/somewhere/llama.cpp/src/a.cpp:12: GGML_ASSERT(x) failed")

    with serving({"n_ctx": 256, "n_parallel": 1}) as server:
        registry = server.context.registry
        before = registry.runners["tinychat"]
        assertions.guarded(getattr(raw, function))
        with monkeypatch.context() as patch:
            patch.setitem(assertions._guards, function, fail)
            answer = server.post(*request_)
        if request_ is STREAM:
            assert '"server_error"' in answer.text
        else:
            assert answer.status_code == 500
        for path, body in (COMPLETION, EMBEDDING, TOKENS):
            assert server.post(path, body).status_code == 200
        assert registry.runners["tinychat"] is not before
        assert before.llama.weights.closed


def test_a_request_that_is_prepared_while_the_engine_fails_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving({"n_ctx": 256, "n_parallel": 1}) as server:
        runner = server.context.registry.runners["tinychat"]
        start = runner.in_thread

        async def in_thread(*arguments: Any, **options: Any) -> Any:
            job = await start(*arguments, **options)
            runner.is_broken = True
            return job

        monkeypatch.setattr(runner, "in_thread", in_thread)
        assert server.post(*COMPLETION).status_code == 503
        assert server.post(*COMPLETION).status_code == 200
