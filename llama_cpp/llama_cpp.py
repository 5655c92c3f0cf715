"""The raw C API: every public name of ``llama.h``, ``ggml*.h`` and ``gguf.h`` of the pinned engine.

Pointers are ints that know their kind; NULL is None. A function is bound on first use; its
docstring is the C prototype, and the names of the prototype's parameters are keywords.
``llama_cpp.native.legacy`` keeps names that have left ``llama.h``::

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
from .native import engine, gone
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
        return __dir__()
    if name in NAMES[__name__]:
        return find(__name__, name)
    if name in _llama.SIGNATURES:
        function = _lib.bind(name)
    elif name in engine.GGML_SIGNATURES:
        function = engine.ggml_function(name)
    else:
        function = _legacy().find(name)
        if function is None:
            raise gone.unknown(name, __name__, __dir__())
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    names = {*globals(), *_llama.SIGNATURES, *engine.GGML_SIGNATURES, *_legacy().__all__}
    return sorted(name for name in names if name.lower().startswith(("llama_", "ggml_", "gguf_")))


def _legacy() -> Any:
    # Only here: most programs need none of it, and it binds functions when it is imported.
    return importlib.import_module(".native.legacy", __package__)
