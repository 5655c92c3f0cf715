"""The names of llama-cpp-python's ``_ggml`` module: the loaded ggml library.

Its functions are in ``llama_cpp.llama_cpp``, typed.
"""

from __future__ import annotations

import pathlib

from .native import engine, library

engine.libllama()
libggml = library.load("ggml", engine.GGML_SIGNATURES)
libggml_base_path = pathlib.Path(libggml._name).parent
