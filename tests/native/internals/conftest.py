"""One model and one context for the tests of ``_internals`` in a module."""

from __future__ import annotations

from pathlib import Path

import pytest
from internals_kit import batch_of, load, new_context

from llama_cpp._internals import LlamaContext, LlamaModel


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> LlamaModel:
    return load(tiny_llama)


@pytest.fixture(scope="module")
def ctx(model: LlamaModel) -> LlamaContext:
    return new_context(model)


@pytest.fixture
def prompted(ctx: LlamaContext) -> LlamaContext:
    """The context, with the logits after a prompt at index -1."""
    ctx.kv_cache_clear()
    ctx.decode(batch_of(ctx.model.tokenize(b"Hello world", add_bos=True, special=False)))
    return ctx
