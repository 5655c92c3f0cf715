"""The names of llama-cpp-python's ``_utils`` module. Nothing in this package needs them."""

from __future__ import annotations

import atexit
import os
from typing import Any, ClassVar, TextIO

from typing_extensions import Self

STDOUT_FILENO = 1
STDERR_FILENO = 2

__all__ = [
    "STDERR_FILENO",
    "STDOUT_FILENO",
    "MetaSingleton",
    "Singleton",
    "errnull_file",
    "outnull_file",
    "suppress_stdout_stderr",
]

outnull_file: TextIO
errnull_file: TextIO


def __getattr__(name: str) -> TextIO:
    # Opened on first use: an import takes no file descriptors.
    if name not in ("outnull_file", "errnull_file"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    file = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    atexit.register(file.close)
    globals()[name] = file
    return file


class suppress_stdout_stderr:
    """A context manager that changes nothing.

    It used to point the process's file descriptors at the null device, to silence the native code.
    That swallowed what other threads printed meanwhile. Native log lines go to
    ``logging.getLogger("llama_cpp")`` instead, where ``llama_cpp.set_verbose`` sets their level.

    Args:
        disable: Accepted and ignored.
    """

    def __init__(self, disable: bool = True) -> None:
        self.disable = disable

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class MetaSingleton(type):
    """The metaclass of classes that have one instance."""

    _instances: ClassVar[dict[type, Any]] = {}

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the instance of the class, made by the first call."""
        if cls not in cls._instances:
            cls._instances[cls] = super().__call__(*args, **kwargs)
        return cls._instances[cls]


class Singleton(metaclass=MetaSingleton):
    """A base for classes that have one instance."""

    def __init__(self) -> None:
        super().__init__()
