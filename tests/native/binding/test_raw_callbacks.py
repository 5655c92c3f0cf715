"""Native code keeps the callbacks that it may call, whatever becomes of the caller's names."""

from __future__ import annotations

import gc
import importlib
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from isolated import RunPython

from llama_cpp.native import bind

# Any: what is set here has no name of its own.
raw: Any = importlib.import_module("llama_cpp.llama_cpp")

LOG = """
import gc, sys
import llama_cpp

seen = []
llama_cpp.llama_log_set(llama_cpp.ggml_log_callback(lambda *line: seen.append(line)), None)
gc.collect()
params = llama_cpp.llama_model_default_params()
assert llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), params)
assert len(seen) > 10
"""


@pytest.fixture
def ctx(model: Any) -> Iterator[Any]:
    params = raw.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
    context = raw.llama_init_from_model(model, params)
    yield context
    raw.llama_free(context)


def set_one(ctx: Any, answer: bool = False) -> weakref.ref[Any]:
    """Set a callback that nobody here holds on to."""

    def callback(data: int | None) -> bool:
        return answer

    raw.llama_set_abort_callback(ctx, raw.ggml_abort_callback(callback), None)
    return weakref.ref(callback)


def decode(ctx: Any) -> int:
    code: int = raw.llama_decode(ctx, raw.llama_batch_get_one((raw.llama_token * 3)(1, 5, 6), 3))
    return code


def test_log_callback_lives_on(run_python: RunPython, tiny_llama: Path) -> None:
    run_python(LOG, tiny_llama)


def test_abort_callback_lives_until_another_is_set(ctx: Any) -> None:
    first = set_one(ctx)
    gc.collect()
    assert decode(ctx) == 0
    second = set_one(ctx, answer=True)
    gc.collect()
    assert first() is None
    assert decode(ctx) == 2
    raw.llama_set_abort_callback(ctx=ctx, abort_callback=None, abort_callback_data=None)
    gc.collect()
    assert second() is None
    assert decode(ctx) == 0


def test_each_context_has_its_own(ctx: Any, model: Any) -> None:
    other = raw.llama_init_from_model(model, raw.llama_context_default_params())
    callbacks = set_one(ctx), set_one(other)
    gc.collect()
    assert None not in [each() for each in callbacks]
    raw.llama_free(other)
    gc.collect()
    assert [each() is None for each in callbacks] == [False, True]
    assert (raw.llama_set_abort_callback.__name__, int(other)) not in bind._callbacks
