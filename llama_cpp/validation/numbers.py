"""Checks of numbers, for arguments of every layer. Pure Python."""

from __future__ import annotations

import numbers
import operator
from contextlib import suppress
from typing import Any

from ..errors import InvalidArgumentError


def plain(value: Any) -> Any:
    """A number or truth value of another library as Python's own; other objects as they are."""
    if isinstance(value, bool | int | float):
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    with suppress(TypeError):
        return operator.index(value)
    return value


def truth(name: str, value: object) -> bool:
    """Return a truth value.

    Raises:
        InvalidArgumentError: It is none.
    """
    own = plain(value)
    if not isinstance(own, bool):
        raise InvalidArgumentError(f"{name}={value!r} must be True or False")
    return own


def number(name: str, value: object, low: float, high: float) -> float:
    """Return a number in [low, high], which NaN is not.

    Raises:
        InvalidArgumentError: It is outside, or no number.
    """
    own = plain(value)
    if not isinstance(own, bool) and isinstance(own, numbers.Real):
        with suppress(OverflowError):
            converted = float(own)
            if low <= converted <= high:
                return converted
    raise InvalidArgumentError(f"{name}={value!r} must be a number from {low} to {high}")


def integer(name: str, value: object, low: int, high: int) -> int:
    """Return an integer in [low, high].

    Raises:
        InvalidArgumentError: It is outside, or no integer.
    """
    try:
        # NumPy's integers are as good as Python's, and a truth value is none.
        index = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        index = None
    if index is None or not low <= index <= high:
        raise InvalidArgumentError(f"{name}={value!r} must be an integer from {low} to {high}")
    return index
