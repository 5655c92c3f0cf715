"""The names that have left ``llama.h``, over what took their place.

``llama_cpp.llama_cpp`` looks here for what today's headers do not have. Each function does its old
work and emits a ``DeprecationWarning`` that names its successor. Where the old functions took the
KV cache, a context and the result of ``llama_get_kv_self`` both do; an address without a type is
taken for a context's.

The engine no longer shows the cells of its memory. What counted cells is computed from the
positions that each sequence holds, so a cell that sequences share counts once for each of them.
"""

from __future__ import annotations

import ctypes
import functools
import warnings
from collections.abc import Callable, Iterator
from ctypes import POINTER, Structure, c_int32, c_void_p
from typing import Any, ParamSpec, TypeVar

from ..errors import PointerTypeError
from . import engine
from .bind import Pointer, after
from .generated import llama as _llama

P = ParamSpec("P")
R = TypeVar("R")

_bind = engine.libllama().bind

# In the order of the values, from 0. The list lives in src/llama-vocab.h now, which is internal.
_PRE_TYPES = """
    DEFAULT LLAMA3 DEEPSEEK_LLM DEEPSEEK_CODER FALCON MPT STARCODER GPT2 REFACT COMMAND_R STABLELM2
    QWEN2 OLMO DBRX SMAUG PORO CHATGLM3 CHATGLM4 VIKING JAIS TEKKEN SMOLLM CODESHELL BLOOM
    GPT3_FINNISH EXAONE CHAMELEON MINERVA DEEPSEEK3_LLM GPT4O SUPERBPE TRILLION BAILINGMOE LLAMA4
    PIXTRAL SEED_CODER HUNYUAN KIMI_K2 HUNYUAN_DENSE GROK_2 GRANITE_DOCLING MINIMAX_M2 AFMOE
    SOLAR_OPEN YOUTU EXAONE_MOE QWEN35 TINY_AYA JOYAI_LLM JAIS2 GEMMA4 SARVAM_MOE MINICPM5
    WHITESPACE GRANITE_EMB_MULTI MELLUM2 LAGUNA HY_V4 SPARK2_5 UFAKZEKA
""".split()
_CONSTANTS: dict[str, int] = {
    f"LLAMA_VOCAB_PRE_TYPE_{name}": value for value, name in enumerate(_PRE_TYPES)
}
_CONSTANTS["LLAMA_MAX_DEVICES"] = _bind("llama_max_devices")()

llama_kv_cache_p = _llama.llama_memory_t
llama_kv_cache_p_ctypes = c_void_p


class llama_kv_cache_view_cell(Structure):
    """``struct llama_kv_cache_view_cell``: the position that a cell holds, or -1."""

    _fields_ = (("pos", c_int32),)


class llama_kv_cache_view(Structure):
    """``struct llama_kv_cache_view``: which sequences and positions fill the KV cache."""

    _fields_ = (
        ("n_cells", c_int32),
        ("n_seq_max", c_int32),
        ("token_count", c_int32),
        ("used_cells", c_int32),
        ("max_contiguous", c_int32),
        ("max_contiguous_idx", c_int32),
        ("cells", POINTER(llama_kv_cache_view_cell)),
        ("cells_sequences", POINTER(c_int32)),
    )


llama_kv_cache_view_p = POINTER(llama_kv_cache_view)


def find(name: str) -> Any | None:
    """Return the object ``name``, or None if ``llama.h`` has never had it."""
    return {**globals(), **_CONSTANTS}[name] if name in __all__ else None


def _gone(successor: str, name: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that makes a function warn its caller and point at ``successor``."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        own_name = name or function.__name__
        message = f"{own_name} has left llama.h, use {successor}"

        @functools.wraps(function)
        def warned(*args: P.args, **kwargs: P.kwargs) -> R:
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

        warned.__name__ = warned.__qualname__ = own_name
        return warned

    return decorate


def _pointer(kind: type[Pointer], value: Any) -> Any:
    """Check what a caller passed for a pointer of one kind, as ``bind.Function`` does."""
    value = getattr(value, "_as_parameter_", value)
    if isinstance(value, kind):
        return value
    address: int | None = None
    if isinstance(value, c_void_p | ctypes._Pointer):
        address = ctypes.cast(value, c_void_p).value
    elif isinstance(value, int) and not isinstance(value, bool | Pointer):
        address = value
    if not address:
        given = "NULL" if value is None else f"{value!r}, of type {type(value).__name__}"
        raise PointerTypeError(f"expected a {kind.__name__}, got {given}")
    return kind(address)


def _memory(ctx: Any) -> Any:
    """The memory of a context, given that or the memory; None where a model has none."""
    ctx = getattr(ctx, "_as_parameter_", ctx)
    if isinstance(ctx, _llama.llama_memory_t):
        return ctx
    return _bind("llama_get_memory")(_pointer(_llama.llama_context_p, ctx))


def _spans(ctx: Any) -> Iterator[tuple[int, range]]:
    """Each sequence that the memory holds something of, and its positions."""
    memory = _memory(ctx)
    pos_min, pos_max = _bind("llama_memory_seq_pos_min"), _bind("llama_memory_seq_pos_max")
    for seq_id in range(_bind("llama_max_parallel_sequences")()):
        first = pos_min(memory, seq_id)
        if first >= 0:
            yield seq_id, range(first, pos_max(memory, seq_id) + 1)


def _on_memory(successor: str, ctx: Any, *arguments: int) -> Any:
    return _bind(successor)(_memory(ctx), *arguments)


def _seq_rm(ctx: Any, seq_id: int, p0: int, p1: int) -> bool:
    """Remove the positions from ``p0`` to before ``p1`` of a sequence; -1 stands for an end."""
    return bool(_on_memory("llama_memory_seq_rm", ctx, seq_id, p0, p1))


def _seq_cp(ctx: Any, seq_id_src: int, seq_id_dst: int, p0: int, p1: int) -> None:
    """Copy positions of a sequence to another."""
    _on_memory("llama_memory_seq_cp", ctx, seq_id_src, seq_id_dst, p0, p1)


def _seq_keep(ctx: Any, seq_id: int) -> None:
    """Remove all sequences but one."""
    _on_memory("llama_memory_seq_keep", ctx, seq_id)


def _seq_add(ctx: Any, seq_id: int, p0: int, p1: int, delta: int) -> None:
    """Add a number to positions of a sequence."""
    _on_memory("llama_memory_seq_add", ctx, seq_id, p0, p1, delta)


def _seq_div(ctx: Any, seq_id: int, p0: int, p1: int, d: int) -> None:
    """Divide positions of a sequence by a number."""
    _on_memory("llama_memory_seq_div", ctx, seq_id, p0, p1, d)


def _seq_pos_min(ctx: Any, seq_id: int) -> int:
    """Return the first position of a sequence, -1 if it is empty."""
    return int(_on_memory("llama_memory_seq_pos_min", ctx, seq_id))


def _seq_pos_max(ctx: Any, seq_id: int) -> int:
    """Return the last position of a sequence, -1 if it is empty."""
    return int(_on_memory("llama_memory_seq_pos_max", ctx, seq_id))


def _can_shift(ctx: Any) -> bool:
    """Tell whether the positions in the memory of a context can be moved."""
    return bool(_on_memory("llama_memory_can_shift", ctx))


def _over_memory(name: str, function: Callable[P, R]) -> Callable[P, R]:
    return _gone(f"llama_memory{function.__name__} with llama_get_memory(ctx)", name)(function)


def _clear(ctx: Any) -> None:
    """Remove all sequences from the memory of a context and zero its data."""
    _bind("llama_memory_clear")(_memory(ctx), True)


def _count(ctx: Any) -> int:
    """Count the tokens in the memory of a context, one that sequences share once for each."""
    return sum(len(positions) for _, positions in _spans(ctx))


def _nothing(ctx: Any) -> None:
    """Do nothing: the engine does this by itself when it decodes."""
    _memory(ctx)


@_gone("llama_get_memory")
def llama_get_kv_self(ctx: Any) -> _llama.llama_memory_t | None:
    """Return the memory of a context."""
    memory: _llama.llama_memory_t | None = _memory(ctx)
    return memory


_CLEARED = "llama_memory_clear with llama_get_memory(ctx)"
_COUNTED = "llama_memory_seq_pos_min and llama_memory_seq_pos_max with llama_get_memory(ctx)"
_AUTOMATIC = "nothing in its place: llama_decode does this when it has to"

llama_kv_self_seq_rm = _over_memory("llama_kv_self_seq_rm", _seq_rm)
llama_kv_self_seq_cp = _over_memory("llama_kv_self_seq_cp", _seq_cp)
llama_kv_self_seq_keep = _over_memory("llama_kv_self_seq_keep", _seq_keep)
llama_kv_self_seq_add = _over_memory("llama_kv_self_seq_add", _seq_add)
llama_kv_self_seq_div = _over_memory("llama_kv_self_seq_div", _seq_div)
llama_kv_self_seq_pos_min = _over_memory("llama_kv_self_seq_pos_min", _seq_pos_min)
llama_kv_self_seq_pos_max = _over_memory("llama_kv_self_seq_pos_max", _seq_pos_max)
llama_kv_self_can_shift = _over_memory("llama_kv_self_can_shift", _can_shift)
llama_kv_self_clear = _gone(_CLEARED, "llama_kv_self_clear")(_clear)
llama_kv_self_defrag = _gone(_AUTOMATIC, "llama_kv_self_defrag")(_nothing)
llama_kv_self_update = _gone(_AUTOMATIC, "llama_kv_self_update")(_nothing)
llama_kv_self_n_tokens = _gone(_COUNTED, "llama_kv_self_n_tokens")(_count)
llama_kv_self_used_cells = _gone(_COUNTED, "llama_kv_self_used_cells")(_count)

llama_kv_cache_seq_rm = _over_memory("llama_kv_cache_seq_rm", _seq_rm)
llama_kv_cache_seq_cp = _over_memory("llama_kv_cache_seq_cp", _seq_cp)
llama_kv_cache_seq_keep = _over_memory("llama_kv_cache_seq_keep", _seq_keep)
llama_kv_cache_seq_add = _over_memory("llama_kv_cache_seq_add", _seq_add)
llama_kv_cache_seq_div = _over_memory("llama_kv_cache_seq_div", _seq_div)
llama_kv_cache_can_shift = _over_memory("llama_kv_cache_can_shift", _can_shift)
llama_kv_cache_clear = _gone(_CLEARED, "llama_kv_cache_clear")(_clear)
llama_kv_cache_defrag = _gone(_AUTOMATIC, "llama_kv_cache_defrag")(_nothing)
llama_kv_cache_update = _gone(_AUTOMATIC, "llama_kv_cache_update")(_nothing)
llama_get_kv_cache_token_count = _gone(_COUNTED, "llama_get_kv_cache_token_count")(_count)
llama_get_kv_cache_used_cells = _gone(_COUNTED, "llama_get_kv_cache_used_cells")(_count)


# The arrays of each view, by the address of its cells: a view is copied freely, as in C.
_view_arrays: dict[int, tuple[Any, Any]] = {}

_view_gone = _gone(_COUNTED)


def _view_of(view: Any) -> llama_kv_cache_view:
    view = getattr(view, "_obj", view)  # what ctypes.byref() points at
    if isinstance(view, llama_kv_cache_view_p) and view:
        view = view.contents
    if not isinstance(view, llama_kv_cache_view):
        raise PointerTypeError(f"expected a pointer to a llama_kv_cache_view, got {view!r}")
    return view


def _release_arrays(view: llama_kv_cache_view) -> None:
    if view.cells:
        _view_arrays.pop(ctypes.addressof(view.cells.contents), None)
    view.cells = view.cells_sequences = None


@_view_gone
def llama_kv_cache_view_init(ctx: Any, n_seq_max: int) -> llama_kv_cache_view:
    """Return a view that is empty until ``llama_kv_cache_view_update``.

    Args:
        ctx: The context.
        n_seq_max: How many sequences to list per cell.
    """
    return llama_kv_cache_view(n_seq_max=n_seq_max, used_cells=_count(ctx), max_contiguous_idx=-1)


@_view_gone
def llama_kv_cache_view_update(ctx: Any, view: Any) -> None:
    """Fill a view from the memory of a context, sequence after sequence from cell 0 on."""
    view = _view_of(view)
    n_cells = _bind("llama_n_ctx")(_pointer(_llama.llama_context_p, ctx))
    per_cell = max(view.n_seq_max, 1)
    cells = (llama_kv_cache_view_cell * n_cells)()
    sequences = (c_int32 * (n_cells * per_cell))()
    for array in (cells, sequences):
        ctypes.memset(array, 0xFF, ctypes.sizeof(array))  # -1 everywhere: an empty cell
    found = [(seq_id, pos) for seq_id, positions in _spans(ctx) for pos in positions]
    for index, (seq_id, pos) in enumerate(found[:n_cells]):
        cells[index].pos = pos
        sequences[index * per_cell] = seq_id
    _release_arrays(view)
    used = min(len(found), n_cells)
    view.n_cells, view.token_count, view.used_cells = n_cells, len(found), used
    view.max_contiguous, view.max_contiguous_idx = n_cells - used, used if used < n_cells else -1
    view.cells = ctypes.cast(cells, POINTER(llama_kv_cache_view_cell))
    view.cells_sequences = ctypes.cast(sequences, POINTER(c_int32))
    _view_arrays[ctypes.addressof(cells)] = cells, sequences


@_view_gone
def llama_kv_cache_view_free(view: Any) -> None:
    """Free the arrays of a view."""
    _release_arrays(_view_of(view))


# What llama_set_adapter_lora has added: context address -> adapter address -> scale.
_adapters: dict[int, dict[int, float]] = {}


def _forget(arguments: tuple[Any, ...]) -> None:
    _adapters.pop(int(arguments[0] or 0), None)


def _forget_adapter(arguments: tuple[Any, ...]) -> None:
    for scales in list(_adapters.values()):
        scales.pop(int(arguments[0] or 0), None)


# The next context may get the address of a freed one, and an adapter likewise. These are the
# function objects that everybody in the process calls.
after(_bind("llama_free"), _forget)
after(_bind("llama_adapter_lora_free"), _forget_adapter)


def _apply_adapters(ctx: Any, scales: dict[int, float]) -> int:
    adapters = (c_void_p * len(scales))(*scales)
    factors = (ctypes.c_float * len(scales))(*scales.values())
    result: int = _bind("llama_set_adapters_lora")(ctx, adapters, len(scales), factors)
    if result == 0:
        _adapters[int(ctx)] = scales
    return result


@_gone("llama_set_adapters_lora, which takes all adapters at once")
def llama_set_adapter_lora(ctx: Any, adapter: Any, scale: float) -> int:
    """Add a LoRA adapter to those that this function has set on a context, or change its scale.

    Those that ``llama_set_adapters_lora`` has set are replaced.

    Returns:
        0.
    """
    ctx = _pointer(_llama.llama_context_p, ctx)
    adapter = _pointer(_llama.llama_adapter_lora_p, adapter)
    return _apply_adapters(ctx, {**_adapters.get(ctx, {}), int(adapter): scale})


@_gone("llama_set_adapters_lora without the adapter")
def llama_rm_adapter_lora(ctx: Any, adapter: Any) -> int:
    """Take a LoRA adapter that ``llama_set_adapter_lora`` has added from a context.

    Returns:
        0, or -1 if it is not there.
    """
    ctx = _pointer(_llama.llama_context_p, ctx)
    scales = dict(_adapters.get(ctx, {}))
    if scales.pop(_pointer(_llama.llama_adapter_lora_p, adapter), None) is None:
        return -1
    return _apply_adapters(ctx, scales)


@_gone("llama_set_adapters_lora with no adapters")
def llama_clear_adapter_lora(ctx: Any) -> None:
    """Take all LoRA adapters from a context."""
    ctx = _pointer(_llama.llama_context_p, ctx)
    _apply_adapters(ctx, {})
    del _adapters[ctx]


@_gone("llama_set_adapter_cvec")
def llama_apply_adapter_cvec(
    ctx: Any,
    data: Any,
    len: int,  # noqa: A002
    n_embd: int,
    il_start: int,
    il_end: int,
) -> int:
    """Apply a control vector to a context; NULL data clears it.

    Returns:
        0, or a negative number on failure.
    """
    result: int = _bind("llama_set_adapter_cvec")(ctx, data, len, n_embd, il_start, il_end)
    return result


@_gone("llama_sampler_init_dist, which normalizes by itself")
def llama_sampler_init_softmax() -> _llama.llama_sampler_p | None:
    """Return a sampler that sorts the candidates and computes their probabilities.

    It drops none and selects none.
    """
    # Top-p sorts and normalizes before it cuts, and this one may not cut.
    keep_all = ctypes.c_size_t(-1).value
    sampler: _llama.llama_sampler_p | None = _bind("llama_sampler_init_top_p")(0.0, keep_all)
    return sampler


__all__ = sorted(
    name for name in (*_CONSTANTS, *globals()) if name.startswith(("llama_", "LLAMA_"))
)
