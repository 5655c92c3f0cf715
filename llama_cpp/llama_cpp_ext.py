"""Functions that libllama has for its own tools, in C++, under llama-cpp-python's names.

They are no part of ``llama.h`` and change without notice: ``draft_model="mtp"`` does what they are
for.
"""

from __future__ import annotations

from ctypes import POINTER, c_bool, c_float, c_int32
from typing import Any

from . import llama_cpp as llama_cpp
from .native import engine
from .native.bind import Library, Signature
from .native.generated.llama import llama_context_p

__all__ = [
    "llama_get_ctx_other",
    "llama_get_embeddings_nextn",
    "llama_get_embeddings_nextn_ith",
    "llama_set_embeddings_nextn",
    "llama_set_nextn_layer_offset",
]


def _function(prototype: str, restype: Any, *argtypes: Any, codes: str = "") -> Any:
    name = prototype.split("(")[0].split()[-1]
    # By the Itanium ABI. Where a compiler names C++ functions in another way, they raise.
    symbol = f"_Z{len(name)}{name}P13llama_context{codes}"
    signature: Signature = (restype, (llama_context_p, *argtypes), prototype)
    llama = engine.libllama()
    function = Library(llama._name, {symbol: signature}, handle=llama._handle).bind(symbol)
    function.__name__ = name
    return function


llama_get_ctx_other = _function(
    "struct llama_context * llama_get_ctx_other(struct llama_context * ctx)", llama_context_p
)
llama_get_embeddings_nextn = _function(
    "float * llama_get_embeddings_nextn(struct llama_context * ctx)", POINTER(c_float)
)
llama_get_embeddings_nextn_ith = _function(
    "float * llama_get_embeddings_nextn_ith(struct llama_context * ctx, int32_t i)",
    *(POINTER(c_float), c_int32),
    codes="i",
)
llama_set_embeddings_nextn = _function(
    "void llama_set_embeddings_nextn(struct llama_context * ctx, bool value, bool masked)",
    *(None, c_bool, c_bool),
    codes="bb",
)
llama_set_nextn_layer_offset = _function(
    "void llama_set_nextn_layer_offset(struct llama_context * ctx, int32_t offset)",
    *(None, c_int32),
    codes="i",
)
