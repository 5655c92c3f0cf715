"""Names of llama-cpp-python's module over ``llava.h``, which llama.cpp has no longer.

Every function raises when it is called: :mod:`llama_cpp.mtmd_cpp` is today's API, and a chat
handler such as ``MTMDChatHandler`` does the whole work.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NewType, NoReturn

from ._ctypes_extensions import (
    CtypesArray,
    ctypes_function_for_shared_library,
    load_shared_library,
)
from .errors import SymbolMissingError
from .native import engine

__all__ = [
    "CtypesArray",
    "clip_ctx_p",
    "clip_ctx_p_ctypes",
    "clip_free",
    "clip_model_load",
    "ctypes_function",
    "ctypes_function_for_shared_library",
    "llava_eval_image_embed",
    "llava_image_embed",
    "llava_image_embed_free",
    "llava_image_embed_make_with_bytes",
    "llava_image_embed_make_with_filename",
    "llava_validate_embed_size",
    "load_shared_library",
]

clip_ctx_p = NewType("clip_ctx_p", int)
clip_ctx_p_ctypes = ctypes.c_void_p
ctypes_function = ctypes_function_for_shared_library(engine.libllama())


class llava_image_embed(ctypes.Structure):
    """``struct llava_image_embed``: embeddings of an image."""

    _fields_ = (("embed", ctypes.POINTER(ctypes.c_float)), ("n_image_pos", ctypes.c_int))


def _gone(name: str, today: str) -> Callable[..., NoReturn]:
    def gone(*arguments: Any, **named: Any) -> NoReturn:
        raise SymbolMissingError(f"{name} has left llama.cpp: use llama_cpp.mtmd_cpp.{today}")

    gone.__name__ = gone.__qualname__ = name
    return gone


clip_model_load = _gone("clip_model_load", "mtmd_init_from_file")
clip_free = _gone("clip_free", "mtmd_free")
llava_validate_embed_size = _gone("llava_validate_embed_size", "mtmd_init_from_file, which checks")
llava_image_embed_make_with_bytes = _gone(
    "llava_image_embed_make_with_bytes", "mtmd_helper_bitmap_init_from_buf"
)
llava_image_embed_make_with_filename = _gone(
    "llava_image_embed_make_with_filename", "mtmd_helper_bitmap_init_from_file"
)
llava_image_embed_free = _gone("llava_image_embed_free", "mtmd_bitmap_free")
llava_eval_image_embed = _gone("llava_eval_image_embed", "mtmd_helper_eval_chunks")
