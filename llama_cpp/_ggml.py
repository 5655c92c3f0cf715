"""The names of llama-cpp-python's ``_ggml`` module: the loaded ggml library.

Its functions are in ``llama_cpp.llama_cpp``, typed.
"""

from __future__ import annotations

from .compat.names import lookup as _lookup
from .native import engine, library
from .native.generated import backends, ggml

engine.libllama()
libggml = library.load("ggml", {**ggml.SIGNATURES, **backends.SIGNATURES})

# For scripts: see `compat.names`.
__getattr__ = _lookup(__name__)
