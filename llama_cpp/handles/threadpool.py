"""``Threadpool``: threads that live as long as the contexts that compute with them."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from .. import llama_cpp as raw
from ..native.threads import POLL
from ..validation import native_arguments as checks
from .base import Handle


class Threadpool(Handle):
    """Worker threads for one context at a time.

    Without one the engine starts and joins its threads at every graph, which collapses on a
    shared core.

    Args:
        n_threads: How many, the calling thread included.
        poll: 0 to 100.
    """

    def __init__(self, n_threads: int, poll: int = POLL) -> None:
        checks.integer("n_threads", n_threads, 1, raw.GGML_MAX_N_THREADS)
        checks.integer("poll", poll, 0, 100)
        params = raw.ggml_threadpool_params_default(n_threads)
        params.poll = poll
        self.n_threads = n_threads
        process = os.getpid()

        def free(pointer: Any) -> None:
            # A forked child has the pool but not its threads, and would wait for them forever.
            if os.getpid() == process:
                raw.ggml_threadpool_free(pointer)

        super().__init__(raw.ggml_threadpool_new(ctypes.byref(params)), free)
