"""The raw C API: every public name of ``llama.h``, ``ggml*.h`` and ``gguf.h`` of the pinned engine.

Pointers are ints that know their kind; NULL is None. A function is bound on first use; its
docstring is the C prototype. ``llama_cpp.native.legacy`` keeps names that have left ``llama.h``::

    import llama_cpp

    params = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(b"model.gguf", params)

Nothing here is checked beyond pointer kinds: a wrong size or index crashes as it does in C.
``llama_cpp.handles`` and ``llama_cpp._internals`` are the safe layers above.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING as TYPE_CHECKING
from typing import Any

from .compat.names import NAMES, find
from .native import engine
from .native.generated import llama as _llama
from .native.generated.backends import *
from .native.generated.ggml import *
from .native.generated.llama import *

# For scripts that declare functions of their own.
from .native.own_functions import (
    ctypes_function_for_shared_library as ctypes_function_for_shared_library,
)
from .native.own_functions import load_shared_library as load_shared_library

_lib = engine.libllama()

ctypes_function = ctypes_function_for_shared_library(_lib)


def __getattr__(name: str) -> Any:
    if name == "__all__":
        # Asked for by `import *`, which would miss the functions that are not bound yet.
        return [each for each in __dir__() if each.lower().startswith(("llama_", "ggml_", "gguf_"))]
    if name in NAMES[__name__]:
        return find(__name__, name)
    function: Any
    if name == "llama_supports_gpu_offload":
        function = engine.supports_gpu_offload
    elif name in _llama.SIGNATURES:
        function = _lib.bind(name)
    elif name in engine.GGML_SIGNATURES:
        function = engine.ggml_function(name)
    else:
        function = _legacy().find(name, __name__)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*globals(), *_llama.SIGNATURES, *engine.GGML_SIGNATURES, *_legacy().__all__})


def _legacy() -> Any:
    # `from .native import legacy` would ask the package for the name first, which asks this module.
    return importlib.import_module(".native.legacy", __package__)
