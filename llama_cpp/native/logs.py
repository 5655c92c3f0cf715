"""Native log lines go to ``logging.getLogger("llama_cpp")``; nothing prints.

Error lines are also collected per thread, so that an exception can carry those of its own call.
No file descriptor is ever redirected: that swallows other people's output and breaks threads.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from .generated.ggml import (
    GGML_LOG_LEVEL_CONT,
    GGML_LOG_LEVEL_DEBUG,
    GGML_LOG_LEVEL_ERROR,
    GGML_LOG_LEVEL_INFO,
    GGML_LOG_LEVEL_NONE,
    GGML_LOG_LEVEL_WARN,
    ggml_log_callback,
)
from .generated.llama import SIGNATURES as LLAMA
from .generated.mtmd import SIGNATURES as MTMD
from .library import load, names_of_loaded, noop_callback

logger = logging.getLogger("llama_cpp")
logger.addHandler(logging.NullHandler())

LEVELS = {
    GGML_LOG_LEVEL_NONE: logging.INFO,
    GGML_LOG_LEVEL_DEBUG: logging.DEBUG,
    GGML_LOG_LEVEL_INFO: logging.INFO,
    GGML_LOG_LEVEL_WARN: logging.WARNING,
    GGML_LOG_LEVEL_ERROR: logging.ERROR,
    GGML_LOG_LEVEL_CONT: logging.DEBUG,  # only when nothing came before it
}

_KEPT_ERRORS = 8

# What the engine says of a decode that was asked to stop, which is no error.
_OF_ABORTS = frozenset(
    (
        "graph_compute: ggml_backend_sched_graph_compute_async failed with error 1",
        "process_ubatch: failed to compute graph, compute status: 1",
        "llama_decode: failed to decode, ret = 2",
    )
)


class _ThreadLog(threading.local):
    """The unfinished line and the recent error lines of one thread."""

    def __init__(self) -> None:
        self.level = logging.DEBUG
        self.unfinished = ""
        self.errors: deque[str] = deque(maxlen=_KEPT_ERRORS)
        self.are_told = False
        self.lines: list[str] | None = None


_thread = _ThreadLog()


def handle(level: int, text: bytes) -> None:
    """Take one native log call: a line, several, or a part of one."""
    if level != GGML_LOG_LEVEL_CONT:
        _finish()
        _thread.level = LEVELS.get(level, logging.INFO)
    *lines, _thread.unfinished = (_thread.unfinished + text.decode("utf-8", "replace")).split("\n")
    for line in lines:
        _emit(line)


def _finish() -> None:
    unfinished, _thread.unfinished = _thread.unfinished, ""
    _emit(unfinished)


def _emit(line: str) -> None:
    line = line.rstrip()
    if not line:
        return
    level = _thread.level
    if _thread.lines is not None:
        _thread.lines.append(line)
    if level >= logging.ERROR:
        _thread.errors.append(line)
        if _thread.are_told or line in _OF_ABORTS:
            level = logging.DEBUG
    if logger.isEnabledFor(level):
        logger.log(level, "%s", line)


@contextmanager
def collect_errors(*, are_told: bool = False) -> Iterator[deque[str]]:
    """Collect the error lines that native code logs on this thread inside the ``with`` block.

    Args:
        are_told: Whether an exception tells what they say, to who gave something wrong; they are
            no errors of the program then, and logged at DEBUG.
    """
    outer, _thread.errors = _thread.errors, deque(maxlen=_KEPT_ERRORS)
    were_told, _thread.are_told = _thread.are_told, are_told
    try:
        yield _thread.errors
    finally:
        _finish()
        outer.extend(_thread.errors)
        _thread.errors, _thread.are_told = outer, were_told


@contextmanager
def collect_lines() -> Iterator[list[str]]:
    """Collect all lines that native code logs on this thread inside the ``with`` block.

    There are none where the program has set a callback of its own.
    """
    outer, _thread.lines = _thread.lines, []
    lines = _thread.lines
    try:
        yield lines
    finally:
        _finish()
        _thread.lines = outer


@ggml_log_callback
def _native_callback(level: int, text: bytes | None, user_data: int | None) -> None:
    # An exception cannot cross C; logging.raiseExceptions already reports those of handlers.
    if text:
        handle(level, text)


def install() -> None:
    """Route the log of libllama and libggml into ``logging``."""
    load("llama", LLAMA).bind("llama_log_set")(_native_callback, None)


def install_mtmd() -> None:
    """Route the log of libmtmd into ``logging``."""
    load("mtmd", MTMD).bind("mtmd_helper_log_set")(_native_callback, None)


@atexit.register
def _detach() -> None:
    # Static destructors of the backends may log after the interpreter is gone.
    for stem, table, name in (
        ("llama", LLAMA, "llama_log_set"),
        ("mtmd", MTMD, "mtmd_helper_log_set"),
    ):
        if stem in names_of_loaded():
            set_log = load(stem, table).find(name)  # a foreign library may have been refused
            if set_log is not None:
                set_log(ctypes.c_void_p(noop_callback()), None)


def set_verbose(verbose: bool) -> None:
    """Set the level of the ``llama_cpp`` logger: DEBUG when verbose, ERROR when not.

    Nothing shows until the program configures ``logging``, for example with
    ``logging.basicConfig()``.
    """
    logger.setLevel(logging.DEBUG if verbose else logging.ERROR)
