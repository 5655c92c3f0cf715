"""Refuse a library whose struct layouts are not those of the bindings.

A struct that grew a field in another llama.cpp version shifts every field behind it: the program
would crash or, worse, run with nonsense. The default parameters tell: their values are known, and
a wrong layout puts them elsewhere.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Any

from ..errors import LibraryMismatchError
from .bind import Library
from .generated import LLAMA_CPP_COMMIT
from .generated.llama import (
    llama_context_params,
    llama_model_params,
    llama_model_quantize_params,
    llama_sampler_chain_params,
)

# Room behind the struct, for a library whose struct is larger: it must not write past our memory.
_MARGIN = 512
_UNTOUCHED = 0xA5

# Where a struct comes back through a pointer that is passed like a first argument (System V and
# Windows on x86-64), we can pass the pointer ourselves and see how far the library writes.
_MACHINE = os.uname().machine if hasattr(os, "uname") else os.getenv("PROCESSOR_ARCHITECTURE", "")
_RESULT_POINTER_IS_AN_ARGUMENT = _MACHINE in ("x86_64", "AMD64")

_EXPECTED: tuple[tuple[str, type[ctypes.Structure], Mapping[str, Any]], ...] = (
    (
        "llama_model_default_params",
        llama_model_params,
        {
            "n_gpu_layers": -1,
            "split_mode": 1,
            "load_mode": -1,
            "lazy_mode": 1,
            "main_gpu": 0,
            "vocab_only": False,
            "use_extra_bufts": True,
            "no_host": False,
            "no_alloc": False,
            "load_mtp": False,
        },
    ),
    (
        "llama_context_default_params",
        llama_context_params,
        {
            "n_ctx": 512,
            "n_batch": 2048,
            "n_ubatch": 512,
            "n_seq_max": 1,
            "n_outputs_max_per_seq": 1,
            "rope_scaling_type": -1,
            "flash_attn_type": -1,
            "yarn_beta_slow": -1.0,
            "defrag_thold": -1.0,
            "type_k": 1,
            "type_v": 1,
            "embeddings": False,
            "offload_kqv": True,
            "no_perf": True,
            "op_offload": True,
            "swa_full": True,
            "kv_unified": False,
            "n_samplers": 0,
            "ctx_other": None,
        },
    ),
    (
        "llama_model_quantize_default_params",
        llama_model_quantize_params,
        {
            "nthread": 0,
            "ftype": 7,
            "quantize_output_tensor": True,
            "keep_split": False,
            "max_buf_size": 8 << 30,
        },
    ),
    ("llama_sampler_chain_default_params", llama_sampler_chain_params, {"no_perf": True}),
)


def check(library: Library) -> None:
    """Compare the default parameters of a loaded libllama with those of the pinned version.

    Raises:
        LibraryMismatchError: They differ, or are not there at all.
    """
    for function, struct, expected in _EXPECTED:
        differences = _differences(library, function, struct, expected)
        if differences:
            raise LibraryMismatchError(
                f"{library._name} is of another llama.cpp version than the bindings: "
                f"{function} gives {differences}. Rebuild the package, or point "
                f"LLAMA_CPP_LIB_PATH at a build of llama.cpp {LLAMA_CPP_COMMIT}."
            )


def _differences(
    library: Library, name: str, struct: type[ctypes.Structure], expected: Mapping[str, Any]
) -> str:
    # A plain handle of the library: Library itself would bind with our struct sizes.
    try:
        function = ctypes.CDLL(library._name, handle=library._handle)[name]
    except AttributeError:
        return "nothing: it is not there"
    value, overrun = _call(function, struct)
    if overrun:
        return f"more than the {ctypes.sizeof(struct)} bytes of {struct.__name__}"
    found = {name: getattr(value, name) for name in expected}
    return ", ".join(
        f"{name} = {found[name]!r} instead of {wanted!r}"
        for name, wanted in expected.items()
        if found[name] != wanted
    )


def _call(function: Any, struct: type[ctypes.Structure]) -> tuple[Any, bool]:
    """What a function that returns ``struct`` gives, and whether it gives more than that."""
    size = ctypes.sizeof(struct)
    if size <= 16:  # comes back in registers: there is nothing to overrun
        function.restype = struct
        return function(), False
    if not _RESULT_POINTER_IS_AN_ARGUMENT:
        padded = type(
            "Padded",
            (ctypes.Structure,),
            {"_fields_": [("value", struct), ("margin", ctypes.c_uint8 * _MARGIN)]},
        )
        function.restype = padded
        return function().value, False
    memory = (ctypes.c_uint8 * (size + _MARGIN))(*[_UNTOUCHED] * (size + _MARGIN))
    function.restype = ctypes.c_void_p
    function(ctypes.byref(memory))
    return struct.from_buffer(memory), any(byte != _UNTOUCHED for byte in memory[size:])
