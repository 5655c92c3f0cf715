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

from llama_cpp.native import callbacks as callbacks_kept

# Any: what is set here has no name of its own.
raw: Any = importlib.import_module("llama_cpp.llama_cpp")
mtmd: Any = importlib.import_module("llama_cpp.mtmd_cpp")

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


def test_every_log_has_a_callback_that_lives_on(run_python: RunPython, tiny_llama: Path) -> None:
    code = """
import gc, sys, weakref
from llama_cpp import llama_cpp as raw, mtmd_cpp as mtmd

def set_log(function):
    def callback(*line):
        pass
    function(raw.ggml_log_callback(callback), None)
    gc.collect()
    return weakref.ref(callback)

for name in ("llama_log_set", "ggml_log_set", "mtmd_log_set", "mtmd_helper_log_set"):
    function = getattr(raw, name, None) or getattr(mtmd, name)
    first = set_log(function)
    assert first() is not None, name
    second = set_log(function)
    assert first() is None and second() is not None, name
    raw.llama_model_load_from_file(sys.argv[1].encode(), raw.llama_model_default_params())
"""
    run_python(code, tiny_llama)


def test_an_abort_callback_of_the_process_can_be_set_again(run_python: RunPython) -> None:
    code = """
import gc
from llama_cpp import llama_cpp as raw

seen = []
raw.ggml_set_abort_callback(raw.ggml_abort_callback_t(lambda text: seen.append(text)))
before = raw.ggml_set_abort_callback(raw.ggml_abort_callback_t(lambda text: None))
gc.collect()
raw.ggml_set_abort_callback(before)
del before
gc.collect()
back = raw.ggml_set_abort_callback(raw.ggml_abort_callback_t(lambda text: None))
gc.collect()
back(b"text")
assert seen == [b"text"]
"""
    run_python(code)


def test_an_eval_callback_lives_as_long_as_its_context(model: Any) -> None:
    seen: list[bool] = []

    def make() -> tuple[Any, weakref.ref[Any]]:
        def callback(tensor: Any, ask: bool, data: Any) -> bool:
            seen.append(ask)
            return False

        params = raw.llama_context_default_params()
        params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
        params.cb_eval = raw.ggml_backend_sched_eval_callback(callback)
        context = raw.llama_init_from_model(model, params)
        params.cb_eval = raw.ggml_backend_sched_eval_callback()  # for the next context
        return context, weakref.ref(callback)

    context, callback = make()
    gc.collect()
    assert decode(context) == 0
    assert seen
    raw.llama_free(context)
    gc.collect()
    assert callback() is None


def test_the_callbacks_of_a_sampler_live_as_long_as_its_chain() -> None:
    seen: list[int] = []

    def make() -> tuple[Any, weakref.ref[Any]]:
        def accept(sampler: Any, token: int) -> None:
            seen.append(token)

        interface = raw.llama_sampler_i()
        interface.accept = raw.llama_sampler_i_accept(accept)
        return raw.llama_sampler_init(interface, None), weakref.ref(accept)

    chain = raw.llama_sampler_chain_init(raw.llama_sampler_chain_default_params())
    sampler, first = make()
    raw.llama_sampler_chain_add(chain, sampler)
    gc.collect()
    raw.llama_sampler_accept(chain, 5)
    other, second = make()
    raw.llama_sampler_chain_add(chain, other)
    raw.llama_sampler_chain_remove(chain, 1)
    raw.llama_sampler_free(chain)
    gc.collect()
    assert first() is None
    raw.llama_sampler_accept(other, 6)
    raw.llama_sampler_free(other)
    gc.collect()
    assert second() is None
    assert seen == [5, 6]


def test_an_operation_lives_as_long_as_its_graph() -> None:
    seen: list[int] = []

    def add_to(context: Any, source: Any) -> tuple[Any, weakref.ref[Any]]:
        def operation(target: Any, source: Any, part: int, n_parts: int, data: Any) -> None:
            seen.append(part)

        wrapped = raw.ggml_custom1_op_t(operation)
        return raw.ggml_map_custom1(context, source, wrapped, 1, None), weakref.ref(operation)

    context = raw.ggml_init(raw.ggml_init_params(1 << 20, None, False))
    source = raw.ggml_new_tensor_1d(context, raw.GGML_TYPE_F32, 4)
    result, operation = add_to(context, source)
    gc.collect()
    graph = raw.ggml_new_graph(context)
    raw.ggml_build_forward_expand(graph, result)
    assert raw.ggml_graph_compute_with_ctx(context, graph, 1) == 0
    assert seen == [0]
    raw.ggml_free(context)
    gc.collect()
    assert operation() is None


def test_a_lazy_image_keeps_what_gives_its_pixels() -> None:
    def make() -> tuple[Any, weakref.ref[Any]]:
        def callback(*arguments: Any) -> int:
            return 1

        wrapped = mtmd.mtmd_bitmap_lazy_callback(callback)
        return mtmd.mtmd_bitmap_init_lazy(None, b"id", None, wrapped), weakref.ref(callback)

    bitmap, callback = make()
    gc.collect()
    assert callback() is not None
    mtmd.mtmd_bitmap_free(bitmap)
    gc.collect()
    assert callback() is None


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
    assert int(other) not in callbacks_kept._kept
