"""Functions that libllama has for its own tools, in C++, under llama-cpp-python's names.

They are no part of ``llama.h`` and change without notice: ``draft_model="mtp"`` does what they are
for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from . import llama_cpp
from .errors import SymbolMissingError
from .native import engine

__all__ = [
    "llama_get_ctx_other",
    "llama_get_embeddings_nextn",
    "llama_get_embeddings_nextn_ith",
    "llama_set_embeddings_nextn",
    "llama_set_nextn_layer_offset",
]

_CONTEXT = llama_cpp.llama_context_p
_FLOATS = ctypes.POINTER(ctypes.c_float)


def _function(name: str, letters: str, restype: Any, *argtypes: Any) -> Callable[..., Any]:
    """A function by its mangled name: ``letters`` are those of its arguments after the context."""
    symbol = f"_Z{len(name)}{name}P13llama_context{letters}"
    try:
        function: Callable[..., Any] = ctypes.CFUNCTYPE(restype, ctypes.c_void_p, *argtypes)(
            (symbol, engine.libllama())
        )
    except AttributeError:

        def function(*arguments: Any) -> Any:
            raise SymbolMissingError(
                f"{name} is not in this build of libllama, which shows C++ functions by other "
                'names: use Llama(draft_model="mtp")'
            )

    function.__name__ = name
    return function


llama_get_ctx_other = _function("llama_get_ctx_other", "", ctypes.c_void_p)
llama_get_embeddings_nextn = _function("llama_get_embeddings_nextn", "", _FLOATS)
llama_get_embeddings_nextn_ith = _function(
    "llama_get_embeddings_nextn_ith", "i", _FLOATS, ctypes.c_int32
)
llama_set_embeddings_nextn = _function(
    "llama_set_embeddings_nextn", "bb", None, ctypes.c_bool, ctypes.c_bool
)
llama_set_nextn_layer_offset = _function("llama_set_nextn_layer_offset", "i", None, ctypes.c_int32)
