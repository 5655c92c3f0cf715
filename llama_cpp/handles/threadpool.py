"""The threads of the process, which everything that computes on the CPU shares.

Contexts and media projectors join by themselves. A context of the raw API can, too::

    pool = shared_threadpool()
    llama_cpp.llama_attach_threadpool(ctx, pool, pool)
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..native.backend import bridge, start_backend
from ..native.threads import POLL, usable_cores
from ..validation import native_arguments as checks

_logger = logging.getLogger("llama_cpp")


def shared_threadpool(poll: int = POLL) -> Any:
    """Return a ``ggml_threadpool_t`` that any number of contexts may be attached to.

    It has no threads of its own. Each graph takes as many cores as it has threads, out of those
    that this process may use, and threads to go with them; it waits for them in the order of
    asking, and gives them back when it is computed, before its caller goes on.

    Args:
        poll: How eagerly the threads look for the next graph, 0 (sleep at once) to 100.

    Returns:
        The pool, the same one for the same ``poll``, which is never freed. None if the llama.cpp of
        this build lacks the patch for it: then the engine starts threads for each graph.

    Raises:
        InvalidArgumentError: ``poll`` is out of range.
    """
    return _threadpool(checks.integer("poll", poll, 0, 100))


@functools.cache
def _threadpool(poll: int) -> Any:
    start_backend()
    pool = bridge("bridge_threadpool")(usable_cores(), poll)
    if pool is None:
        _logger.warning(
            "this build's llama.cpp lacks the patch lent-threadpools: threads are started for each "
            "graph, which is slow"
        )
    return pool


@contextmanager
def shared_threads() -> Iterator[bool]:
    """Have what computes on this thread without a pool use the threads of the process.

    Yields:
        Whether it does: False where the build lacks the patch for it.
    """
    use, pool = bridge("bridge_use_threadpool"), shared_threadpool()
    use(pool)
    try:
        yield pool is not None
    finally:
        use(None)
