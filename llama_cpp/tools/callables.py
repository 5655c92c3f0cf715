"""What can be called, and what it is named."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import InvalidArgumentError


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what has the annotations and the docstring."""
    inner: Any = function
    while isinstance(inner, partial):
        inner = inner.func
    # An object that can be called has them at its method.
    found: Callable[..., Any] = inner if hasattr(inner, "__name__") else inner.__call__
    return found


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, or of the class of an object.

    Raises:
        InvalidArgumentError: It is a lambda.
    """
    while isinstance(function, partial):
        function = function.func
    name: str = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        raise InvalidArgumentError("a lambda has no name: use Tool.of(function, name=...)")
    return name
