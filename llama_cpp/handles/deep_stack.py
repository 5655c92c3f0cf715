"""Calls with more stack than a thread has by default.

Many tokenizers split a text by ``std::regex`` first, whose GNU implementation calls itself once per
character of a match: some 25,000 letters without a space overflow the usual 8 MiB and end the
process. What reads nested values calls itself once per level of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from ..errors import InvalidArgumentError, TextError

T = TypeVar("T")

SHORT_RUN = 4096  # even in a thread with 2 MiB
LONGEST_RUN = 1 << 21
_STACK_PER_BYTE = 512  # measured with GCC 12 on x86-64: 328
_STACK_BESIDES = 8 << 20
FEW_LEVELS = 128  # even in a thread with 2 MiB
MOST_LEVELS = 1 << 14
_STACK_PER_LEVEL = 6 << 10  # measured for the parsers of replies: 3,000
_WHITE_SPACE = b" \t\n\v\f\r"
_CLASSES = bytes(byte in _WHITE_SPACE for byte in range(256))

_lock = threading.Lock()


def longest_run(text: bytes) -> int:
    """How long the longest stretch without white space, or of white space, may be; at least that.

    It is exact for stretches of 4096 bytes and more.
    """
    if len(text) <= SHORT_RUN:
        return len(text)
    classes = text.translate(_CLASSES)
    if b"\0" * SHORT_RUN not in classes and b"\1" * SHORT_RUN not in classes:
        return SHORT_RUN
    return max(
        len(max(classes.split(b"\1"), key=len)),
        len(max(classes.split(b"\0"), key=len)),
    )


def with_stack_for(text: bytes, function: Callable[[], T]) -> T:
    """Call ``function``, which works through ``text``, where there is stack enough for it.

    Raises:
        TextError: The text has a longer stretch without white space than any in use.
    """
    run = longest_run(text)
    if run <= SHORT_RUN:
        return function()
    if run > LONGEST_RUN:
        raise TextError(
            f"the text has {run} bytes without white space (or only white space) in one stretch, "
            f"at most {LONGEST_RUN} go: split it"
        )
    return _with_stack(_STACK_BESIDES + _STACK_PER_BYTE * run, function)


def with_stack_for_levels(levels: int, what: str, function: Callable[[], T]) -> T:
    """Call ``function``, which goes down ``what`` by levels, where there is stack enough for it.

    Raises:
        InvalidArgumentError: It goes deeper than anything in use.
    """
    if levels <= FEW_LEVELS:
        return function()
    if levels > MOST_LEVELS:
        raise InvalidArgumentError(f"{what} goes {levels} levels deep, at most {MOST_LEVELS} go")
    return _with_stack(_STACK_BESIDES + _STACK_PER_LEVEL * levels, function)


def _with_stack(size: int, function: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, name="llama_cpp deep stack")
    with _lock:  # the size is that of all threads that start from now on
        previous = threading.stack_size(size)
        try:
            thread.start()
        except RuntimeError as error:
            raise TextError(f"there is no memory for a stack of {size} bytes") from error
        finally:
            threading.stack_size(previous)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
