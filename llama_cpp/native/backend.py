"""One-time start of the native backend, and errors that carry its log."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Sequence
from typing import Any

from ..errors import (
    ContextError,
    EngineAssertionError,
    LlamaError,
    ModelLoadError,
    OutOfMemoryError,
    TruncatedModelError,
    UnknownArchitectureError,
)
from . import engine
from .generated import bridge as _bridge
from .last_words import keep_silent_at_exit, log_last_words
from .library import load, search_folders
from .logs import collect_errors

__all__ = [
    "bridge",
    "collect_errors",
    "context_error",
    "load_error",
    "start_backend",
    "take_string",
]

_ASSERTION = "assertion\n"  # how bridge/guard.h begins an error that was one
_OUT_OF_MEMORY = re.compile(
    r"bad_alloc|out of memory|unable to allocate|failed to allocate|cannot allocate|"
    r"alloc_tensor_range|vector::_M_default_append",
    re.IGNORECASE,
)
_UNKNOWN_ARCHITECTURE = re.compile(r"unknown model architecture: '([^']*)'")
_TRUNCATED = re.compile(r"not within the file bounds|corrupted or incomplete|unexpectedly reached")


@functools.cache
def start_backend() -> None:
    """Initialize llama.cpp and its backends, once per process."""
    engine.libllama().bind("llama_backend_init")()
    if not engine.ggml_function("ggml_backend_reg_count")():
        # A build with GGML_BACKEND_DL has its backends in libraries of their own.
        for folder in search_folders():
            engine.ggml_function("ggml_backend_load_all_from_path")(os.fsencode(folder))
    catch_assertions = bridge("bridge_catch_assertions")
    catch_assertions(log_last_words)
    keep_silent_at_exit(catch_assertions)


@functools.cache
def bridge(name: str) -> Any:
    """The function ``name`` of our C++ library ``bridge/``."""
    return load("llama-bridge", _bridge.SIGNATURES).bind(name)


def take_string(string: ctypes.c_char_p) -> str:
    """The text that came out of the bridge; its native memory is freed.

    Raises:
        EngineAssertionError: It is an error, and an assertion of the engine was the reason.
    """
    text = (string.value or b"").decode("utf-8", "replace")
    bridge("bridge_string_free")(string)
    if text.startswith(_ASSERTION):
        raise failed(text.removeprefix(_ASSERTION))
    return text


def failed(assertion: str) -> EngineAssertionError:
    """Make the exception of what the engine would have ended the process with."""
    return EngineAssertionError(
        # Without the path of who built it.
        f"{assertion.rpartition('/llama.cpp/')[2]}\nThis is a fault of the model file or of the "
        "engine. What was in use is closed, and the rest of the process goes on."
    )


def load_error(what: str, path: str, log: Sequence[str]) -> ModelLoadError:
    """The exception that fits what the native loader logged.

    Args:
        what: What was loaded: ``"model"`` or ``"LoRA adapter"``.
        path: The file, for the message.
        log: The native error lines of the failed call.
    """
    text = "\n".join(log)
    if match := _UNKNOWN_ARCHITECTURE.search(text):
        return UnknownArchitectureError(
            f"the {what} {path} has the architecture {match[1]!r}, which this llama.cpp does not "
            "know. A newer release may; llama_cpp.build_info() tells which one this is.",
            log,
        )
    if _OUT_OF_MEMORY.search(text):
        return OutOfMemoryError(
            f"the {what} {path} does not fit into memory: load a smaller quantization, or put "
            "fewer layers on the GPU (n_gpu_layers).",
            log,
        )
    if _TRUNCATED.search(text):
        return TruncatedModelError(f"the {what} {path} is incomplete: get the file again.", log)
    return ModelLoadError(f"the {what} {path} cannot be loaded: see the native log.", log)


def context_error(n_ctx: int, log: Sequence[str]) -> LlamaError:
    """The exception that fits what the native code logged while it created a context."""
    if _OUT_OF_MEMORY.search("\n".join(log)):
        return OutOfMemoryError(
            f"a context with n_ctx={n_ctx} does not fit into memory: lower n_ctx, n_batch or "
            "n_seq_max, or use a smaller type_k and type_v.",
            log,
        )
    return ContextError("the context cannot be created: see the native log.", log)
