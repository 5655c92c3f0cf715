"""Checks of numbers, for arguments of every layer. Pure Python."""

from __future__ import annotations

import numbers
import operator
from contextlib import suppress

from ..errors import InvalidArgumentError


def number(name: str, value: object, low: float, high: float) -> float:
    """Return a number in [low, high], which NaN is not.

    Raises:
        InvalidArgumentError: It is outside, or no number.
    """
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        with suppress(OverflowError):
            converted = float(value)
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
