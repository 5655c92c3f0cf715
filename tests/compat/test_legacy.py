"""The names that have left ``llama.h`` really do their old work, and name their successors."""

from __future__ import annotations

import ctypes
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from zoo import write_lora

from llama_cpp.errors import PointerTypeError
from llama_cpp.native import gone, legacy

# Any: scripts pass what the declarations of today do not allow.
raw: Any = importlib.import_module("llama_cpp.llama_cpp")

N_CTX = 256
VOCAB_HEADER = Path(__file__).parents[2] / "vendor" / "llama.cpp" / "src" / "llama-vocab.h"
VIEW_SUCCESSOR = "llama_memory_seq_pos_min"


def new_context(model: Any) -> Any:
    params = raw.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_seq_max, params.kv_unified = N_CTX, 64, 4, True
    params.n_threads = params.n_threads_batch = 1
    return raw.llama_init_from_model(model, params)


@pytest.fixture
def ctx(model: Any) -> Iterator[Any]:
    """A context with positions 0-7 in sequence 0 and 0-3 in sequence 1."""
    context = new_context(model)
    decode(context, range(10, 18), seq_id=0)
    decode(context, range(30, 34), seq_id=1)
    yield context
    raw.llama_free(context)


def decode(ctx: Any, tokens: range, seq_id: int = 0) -> None:
    batch = raw.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for index, token in enumerate(tokens):
        batch.token[index], batch.pos[index] = token, index
        batch.n_seq_id[index], batch.seq_id[index][0] = 1, seq_id
        batch.logits[index] = index == len(tokens) - 1
    assert raw.llama_decode(ctx, batch) == 0
    raw.llama_batch_free(batch)


def spans(ctx: Any) -> list[tuple[int, int]]:
    memory = raw.llama_get_memory(ctx)
    return [
        (raw.llama_memory_seq_pos_min(memory, seq), raw.llama_memory_seq_pos_max(memory, seq))
        for seq in range(4)
    ]


def call(name: str, successor: str, *arguments: Any) -> Any:
    """Call a legacy function, which must warn here, once, naming its successor."""
    with pytest.warns(DeprecationWarning) as caught:
        result = getattr(raw, name)(*arguments)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    message = str(caught[0].message)
    assert message.startswith(f"{name} has left llama.h, use ")
    assert re.search(rf"\b{successor}\b", message)
    return result


@pytest.fixture(params=["context", "memory", "address"])
def owner(request: pytest.FixtureRequest, ctx: Any) -> Any:
    """What the old functions took: a context, what llama_get_kv_self returned, an address."""
    if request.param == "memory":
        return call("llama_get_kv_self", "llama_get_memory", ctx)
    return ctx if request.param == "context" else int(ctx)


PREFIXES = pytest.mark.parametrize("prefix", ["llama_kv_self_", "llama_kv_cache_"])


def test_get_kv_self_is_the_memory(ctx: Any) -> None:
    memory = call("llama_get_kv_self", "llama_get_memory", ctx)
    assert isinstance(memory, raw.llama_memory_t)
    assert isinstance(memory, raw.llama_kv_cache_p)
    assert memory == raw.llama_get_memory(ctx)


@PREFIXES
def test_clear(owner: Any, ctx: Any, prefix: str) -> None:
    assert spans(ctx) == [(0, 7), (0, 3), (-1, -1), (-1, -1)]
    assert call(f"{prefix}clear", "llama_memory_clear", owner) is None
    assert spans(ctx) == [(-1, -1)] * 4


@PREFIXES
def test_seq_rm(owner: Any, ctx: Any, prefix: str) -> None:
    assert call(f"{prefix}seq_rm", "llama_memory_seq_rm", owner, 0, 5, -1) is True
    assert spans(ctx)[:2] == [(0, 4), (0, 3)]


@PREFIXES
def test_seq_cp(owner: Any, ctx: Any, prefix: str) -> None:
    assert call(f"{prefix}seq_cp", "llama_memory_seq_cp", owner, 0, 2, 0, 6) is None
    assert spans(ctx) == [(0, 7), (0, 3), (0, 5), (-1, -1)]


@PREFIXES
def test_seq_keep(owner: Any, ctx: Any, prefix: str) -> None:
    assert call(f"{prefix}seq_keep", "llama_memory_seq_keep", owner, 1) is None
    assert spans(ctx)[:2] == [(-1, -1), (0, 3)]


@PREFIXES
def test_seq_add_and_seq_div(owner: Any, ctx: Any, prefix: str) -> None:
    assert call(f"{prefix}can_shift", "llama_memory_can_shift", owner) is True
    assert call(f"{prefix}seq_add", "llama_memory_seq_add", owner, 1, 0, -1, 20) is None
    assert spans(ctx)[:2] == [(0, 7), (20, 23)]
    assert call(f"{prefix}seq_div", "llama_memory_seq_div", owner, 1, 0, -1, 2) is None
    assert spans(ctx)[:2] == [(0, 7), (10, 11)]


@PREFIXES
@pytest.mark.parametrize("what", ["defrag", "update"])
def test_what_the_engine_does_by_itself_changes_nothing(
    owner: Any, ctx: Any, prefix: str, what: str
) -> None:
    before = spans(ctx)
    assert call(f"{prefix}{what}", "llama_decode", owner) is None
    assert spans(ctx) == before


def test_positions(owner: Any) -> None:
    minimum, maximum = "llama_memory_seq_pos_min", "llama_memory_seq_pos_max"
    assert call("llama_kv_self_seq_pos_max", maximum, owner, 1) == 3
    call("llama_kv_self_seq_rm", "llama_memory_seq_rm", owner, 0, 0, 3)
    assert call("llama_kv_self_seq_pos_min", minimum, owner, 0) == 3
    assert call("llama_kv_self_seq_pos_min", minimum, owner, 3) == -1


@pytest.mark.parametrize(
    "name",
    [
        "llama_kv_self_n_tokens",
        "llama_kv_self_used_cells",
        "llama_get_kv_cache_token_count",
        "llama_get_kv_cache_used_cells",
    ],
)
def test_counts(owner: Any, ctx: Any, name: str) -> None:
    assert call(name, "llama_memory_seq_pos_max", owner) == 12
    raw.llama_memory_clear(raw.llama_get_memory(ctx), True)
    assert call(name, "llama_memory_seq_pos_max", owner) == 0


def test_context_without_memory(tiny_bert: Path) -> None:
    bert = raw.llama_model_load_from_file(bytes(tiny_bert), raw.llama_model_default_params())
    context = raw.llama_init_from_model(bert, raw.llama_context_default_params())
    assert call("llama_get_kv_self", "llama_get_memory", context) is None
    assert call("llama_kv_self_n_tokens", "llama_memory_seq_pos_max", context) == 0
    call("llama_kv_self_clear", "llama_memory_clear", context)
    raw.llama_free(context)
    raw.llama_model_free(bert)


@pytest.mark.parametrize("pass_by", [lambda view: view, ctypes.byref, ctypes.pointer])
def test_view(ctx: Any, pass_by: Callable[[Any], Any]) -> None:
    arrays_before = len(legacy._view_arrays)
    view = call("llama_kv_cache_view_init", VIEW_SUCCESSOR, ctx, 2)
    assert isinstance(view, raw.llama_kv_cache_view)
    assert (view.n_cells, view.n_seq_max, view.used_cells) == (0, 2, 12)
    assert not view.cells
    for _ in range(2):  # a second update replaces the arrays of the first
        call("llama_kv_cache_view_update", VIEW_SUCCESSOR, ctx, pass_by(view))
    assert (view.n_cells, view.token_count, view.used_cells) == (N_CTX, 12, 12)
    assert (view.max_contiguous, view.max_contiguous_idx) == (N_CTX - 12, 12)
    positions = [view.cells[index].pos for index in range(N_CTX)]
    assert positions == [*range(8), *range(4), *[-1] * (N_CTX - 12)]
    sequences = [view.cells_sequences[index] for index in range(2 * N_CTX)]
    assert sequences == [*[0, -1] * 8, *[1, -1] * 4, *[-1] * (2 * N_CTX - 24)]
    assert len(legacy._view_arrays) == arrays_before + 1
    call("llama_kv_cache_view_free", VIEW_SUCCESSOR, pass_by(view))
    assert not view.cells
    assert not view.cells_sequences
    assert len(legacy._view_arrays) == arrays_before


def test_view_of_a_full_cache(ctx: Any) -> None:
    memory = raw.llama_get_memory(ctx)
    for seq_id in range(4):
        raw.llama_memory_seq_rm(memory, seq_id, -1, -1)
    for start in range(4):
        decode(ctx, range(start, start + 64), seq_id=start)
    view = call("llama_kv_cache_view_init", VIEW_SUCCESSOR, ctx, 1)
    call("llama_kv_cache_view_update", VIEW_SUCCESSOR, ctx, view)
    assert (view.used_cells, view.max_contiguous, view.max_contiguous_idx) == (N_CTX, 0, -1)
    call("llama_kv_cache_view_free", VIEW_SUCCESSOR, view)


def logits(ctx: Any) -> npt.NDArray[np.float32]:
    raw.llama_memory_clear(raw.llama_get_memory(ctx), True)
    decode(ctx, range(10, 18))
    n_vocab = raw.llama_vocab_n_tokens(raw.llama_model_get_vocab(raw.llama_get_model(ctx)))
    return np.array(raw.llama_get_logits_ith(ctx, -1)[:n_vocab], dtype=np.float32)


def logits_with(ctx: Any, adapters: dict[Any, float]) -> npt.NDArray[np.float32]:
    """The logits that today's function gives with these adapters and no others."""
    pointers = (ctypes.c_void_p * len(adapters))(*adapters)
    scales = (ctypes.c_float * len(adapters))(*adapters.values())
    assert raw.llama_set_adapters_lora(ctx, pointers, len(adapters), scales) == 0
    return logits(ctx)


@pytest.fixture(scope="module")
def adapters(model: Any, folder: Path) -> list[Any]:
    paths = [write_lora(folder / f"lora{seed}.gguf", seed=seed) for seed in (1, 2)]
    return [raw.llama_adapter_lora_init(model, bytes(path)) for path in paths]


def test_lora_adapters_add_up(ctx: Any, model: Any, adapters: list[Any]) -> None:
    first, second = adapters
    reference = new_context(model)
    plain = logits_with(reference, {})
    one = logits_with(reference, {first: 0.5})
    both = logits_with(reference, {first: 0.5, second: 1.0})
    rescaled = logits_with(reference, {first: 1.0, second: 1.0})
    only_second = logits_with(reference, {second: 1.0})
    raw.llama_free(reference)
    assert len({row.tobytes() for row in (plain, one, both, rescaled, only_second)}) == 5

    def add(adapter: Any, scale: float) -> int:
        result: int = call("llama_set_adapter_lora", "llama_set_adapters_lora", ctx, adapter, scale)
        return result

    def remove(adapter: Any) -> int:
        result: int = call("llama_rm_adapter_lora", "llama_set_adapters_lora", ctx, adapter)
        return result

    assert remove(first) == -1
    np.testing.assert_array_equal(logits(ctx), plain)
    assert add(first, 0.5) == 0
    np.testing.assert_array_equal(logits(ctx), one)
    assert add(second, 1.0) == 0
    np.testing.assert_allclose(logits(ctx), both, atol=1e-4)
    assert add(int(first), 1.0) == 0
    np.testing.assert_allclose(logits(ctx), rescaled, atol=1e-4)
    assert remove(first) == 0
    assert remove(first) == -1
    np.testing.assert_array_equal(logits(ctx), only_second)
    assert call("llama_clear_adapter_lora", "llama_set_adapters_lora", ctx) is None
    np.testing.assert_array_equal(logits(ctx), plain)
    assert remove(second) == -1


def test_freed_contexts_and_adapters_are_forgotten(model: Any, folder: Path) -> None:
    path = write_lora(folder / "freed.gguf", seed=3)
    adapter, kept = (raw.llama_adapter_lora_init(model, bytes(path)) for _ in range(2))
    context = new_context(model)
    for each in (adapter, kept):
        call("llama_set_adapter_lora", "llama_set_adapters_lora", context, each, 1.0)
    raw.llama_adapter_lora_free(adapter)
    assert legacy._adapters[context] == {kept: 1.0}
    raw.llama_free(context)
    assert context not in legacy._adapters
    raw.llama_adapter_lora_free(kept)
    raw.llama_free(None)
    raw.llama_adapter_lora_free(None)


def test_control_vector(ctx: Any, model: Any) -> None:
    n_embd, n_layer = raw.llama_model_n_embd(model), raw.llama_model_n_layer(model)
    size = n_embd * n_layer
    vector = (ctypes.c_float * size)(*[(index % 7) / 7 for index in range(size)])
    plain = logits(ctx)
    arguments = (ctx, vector, size, n_embd, 1, n_layer - 1)
    assert call("llama_apply_adapter_cvec", "llama_set_adapter_cvec", *arguments) == 0
    steered = logits(ctx)
    assert not np.array_equal(steered, plain)
    none = (ctx, None, 0, n_embd, 1, n_layer - 1)
    assert call("llama_apply_adapter_cvec", "llama_set_adapter_cvec", *none) == 0
    np.testing.assert_array_equal(logits(ctx), plain)
    assert raw.llama_set_adapter_cvec(*arguments) == 0
    np.testing.assert_array_equal(logits(ctx), steered)


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_softmax_sampler_sorts_and_normalizes_and_selects_nothing(size: int) -> None:
    values = np.random.default_rng(0).standard_normal(size, dtype=np.float32) * 5
    data = (raw.llama_token_data * size)(*[(token, values[token], 0.0) for token in range(size)])
    array = raw.llama_token_data_array(data=data, size=size, selected=-1, sorted=False)
    sampler = call("llama_sampler_init_softmax", "llama_sampler_init_dist")
    raw.llama_sampler_apply(sampler, ctypes.byref(array))
    raw.llama_sampler_free(sampler)

    order = np.argsort(-values)
    expected = np.exp(values[order].astype(np.float64) - values.max())
    assert (array.size, array.selected, array.sorted) == (size, -1, True)
    assert [array.data[index].id for index in range(size)] == order.tolist()
    got = [array.data[index].p for index in range(size)]
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-4)


def test_vocab_pre_types_are_those_of_the_engine() -> None:
    pairs = re.findall(r"(LLAMA_VOCAB_PRE_TYPE_\w+)\s*= (\d+),", VOCAB_HEADER.read_text("utf-8"))
    assert len(pairs) > 50
    ours = [name for name in legacy.__all__ if name.startswith("LLAMA_VOCAB_PRE_TYPE_")]
    assert {name: getattr(raw, name) for name in ours} == {
        name: int(value) for name, value in pairs
    }
    assert raw.llama_max_devices() == raw.LLAMA_MAX_DEVICES


def kv_functions() -> list[str]:
    values = {name: legacy.find(name) for name in legacy.__all__ if "_kv_" in name}
    return [name for name, value in values.items() if inspect.isfunction(value)]


@pytest.mark.parametrize("name", kv_functions())
def test_wrong_pointers_are_refused(name: str, model: Any) -> None:
    function = getattr(raw, name)
    parameters = inspect.signature(function).parameters.values()
    rest = [1 for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD][1:]
    for wrong in (model, None, 0, "ctx", True, ctypes.c_void_p()):
        with pytest.warns(DeprecationWarning), pytest.raises(PointerTypeError, match="expected a"):
            function(wrong, *rest)


NAMES = {
    "clear": "ctx",
    "can_shift": "ctx",
    "seq_rm": "ctx seq_id p0 p1",
    "seq_cp": "ctx seq_id_src seq_id_dst p0 p1",
    "seq_keep": "ctx seq_id",
    "seq_add": "ctx seq_id p0 p1 delta",
    "seq_div": "ctx seq_id p0 p1 d",
}


@PREFIXES
@pytest.mark.parametrize("what", NAMES)
def test_parameters_have_the_names_of_the_old_header(prefix: str, what: str) -> None:
    function = getattr(raw, prefix + what)
    assert " ".join(inspect.signature(function).parameters) == NAMES[what]


def test_old_functions_take_names(ctx: Any) -> None:
    with pytest.warns(DeprecationWarning):
        assert raw.llama_kv_self_seq_rm(ctx=ctx, seq_id=0, p0=5, p1=-1) is True
        assert raw.llama_kv_self_seq_pos_max(ctx, seq_id=0) == 4
    for name in legacy.__all__:
        function = getattr(raw, name)
        if inspect.isfunction(function):
            parameters = inspect.signature(function).parameters.values()
            assert {each.kind for each in parameters} <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_other_kinds_are_named_in_the_refusal(ctx: Any) -> None:
    with pytest.raises(TypeError, match="expected a llama_adapter_lora_p, got llama_context_p"):
        call("llama_set_adapter_lora", "llama_set_adapters_lora", ctx, ctx, 1.0)
    with pytest.raises(TypeError, match="expected a pointer to a llama_kv_cache_view"):
        call("llama_kv_cache_view_free", VIEW_SUCCESSOR, ctx)


@pytest.mark.parametrize("name", sorted(gone.GONE))
def test_what_is_gone_says_what_does_its_work(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"'{name}': it has left the C API, use \w") as caught:
        getattr(raw, name)
    assert name not in dir(raw)
    today = re.findall(r"\bllama_\w+", str(caught.value).split(", use ")[1])
    assert [each for each in today if not hasattr(raw, each)] == []


def test_functions_of_the_engines_own_header(ctx: Any) -> None:
    extension: Any = importlib.import_module("llama_cpp.llama_cpp_ext")
    assert extension.llama_get_ctx_other(ctx=ctx) is None
    assert extension.llama_set_nextn_layer_offset(ctx, offset=0) is None
    for name in extension.__all__:
        function = getattr(extension, name)
        assert function.__name__ == name
        assert function.parameters[0] == "ctx"
        with pytest.raises(PointerTypeError, match=f"{name}: argument 1 is NULL"):
            function(None, *function.parameters[1:])
