"""libllama: loaded once, checked, and connected to ``logging``."""

from __future__ import annotations

import functools

from . import canary, library, logs
from .bind import Library, converts
from .generated.llama import SIGNATURES, llama_model_p, llama_vocab_p


@functools.cache
def libllama() -> Library:
    """Return libllama, after making sure that the bindings fit it.

    Whoever uses any library of the engine comes here first: they are built together.

    Raises:
        LibraryError: It is missing, cannot be loaded, or is of another llama.cpp version.
    """
    llama = library.load("llama", SIGNATURES)
    canary.check(llama)
    logs.install()
    converts(llama_model_p, llama_vocab_p, llama.bind("llama_model_get_vocab"))
    return llama
