"""The names of llama-cpp-python's ``_ggml`` module: the loaded ggml library.

Its functions are in ``llama_cpp.llama_cpp``, typed.
"""

from __future__ import annotations

import pathlib

from .native import engine, library
from .native.generated import backends, ggml

engine.libllama()
libggml_base_path = pathlib.Path(library.search_folders()[0])
libggml = library.load("ggml", {**ggml.SIGNATURES, **backends.SIGNATURES})
