"""Run any GGUF model in your own process: Python bindings for llama.cpp.

The layers, from the raw C API up:

* ``llama_cpp.llama_cpp``, ``llama_cpp.mtmd_cpp``: every C function, struct and constant. Their
  names are available here too: ``llama_cpp.llama_n_ctx``.
* ``llama_cpp._internals``: models, contexts and samplers that own their native memory.

Everything is imported on first use, so importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.4.0"

if TYPE_CHECKING:
    from ._logger import set_verbose as set_verbose
    from ._utils import suppress_stdout_stderr as suppress_stdout_stderr
    from .build_info import build_info as build_info
    from .llama_cpp import *
    from .llama_types import *

# Public names that are not raw C API, and the module that each comes from.
_MODULES = {
    "build_info": "build_info",
    "set_verbose": "_logger",
    "suppress_stdout_stderr": "_utils",
}


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_MODULES.get(name, 'llama_cpp')}", __name__)
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    raw = importlib.import_module(".llama_cpp", __name__)
    return sorted({*globals(), *_MODULES, *dir(raw)})
