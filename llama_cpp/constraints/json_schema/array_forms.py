"""What of arrays is said by the places of items: ``contains``, ``uniqueItems``."""

from __future__ import annotations

from itertools import combinations, islice, permutations
from math import perm
from typing import Any

_PLACES = 8
_OPTIONS_MAX = 64
_ARRANGEMENTS_MAX = 1500


def containing(inside: Any, outside: Any, fewest: int, most: int | None) -> list[dict[str, Any]]:
    """Schemas of arrays that have some items of a kind among the first few.

    Args:
        inside: The schema of these items.
        outside: The schema of what is none of them; needed where there is a maximum.
        fewest: How many there are at least.
        most: How many there are at most.
    """
    other = {} if most is None else outside
    options = []
    for number in range(fewest, (fewest if most is None else most) + 1):
        for places in islice(combinations(range(max(_PLACES, number)), number), _OPTIONS_MAX):
            length = places[-1] + 1 if places else 0
            options.append({
                "prefixItems": [inside if i in places else other for i in range(length)],
                "items": other,
                "minItems": length,
            })  # fmt: skip
            if len(options) == _OPTIONS_MAX:
                return options
    return options


def arrangements(values: list[Any], fewest: int, most: int | None) -> list[list[Any]] | None:
    """All arrays of different values, the shorter ones where there are too many.

    Args:
        values: The values, no two of them equal.
        fewest: How many items there are at least.
        most: How many items there are at most.

    Returns:
        The arrays, or None if there are too many of any length.
    """
    longest = len(values) if most is None else min(most, len(values))
    found: list[list[Any]] = []
    for length in range(fewest, longest + 1):
        if len(found) + perm(len(values), length) > _ARRANGEMENTS_MAX:
            return found or None
        found.extend(map(list, permutations(values, length)))
    return found
