"""What can be said in other words: values, names and numbers that llguidance keeps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .formats import one_of
from .spots import Spot
from .value_types import values_of

EXACT_MAX = 2**53
"""Above, numbers of llguidance are not exact."""

_CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f]")  # JSON has no short escapes for them

# Keywords that say which names there may be.
_CONSTRAINTS = frozenset({
    "$ref", "$dynamicRef", "type", "const", "enum", "pattern", "format", "minLength", "maxLength",
    "allOf", "anyOf", "oneOf", "not", "if",
})  # fmt: skip


def joined(base: dict[str, Any], also: Iterable[Any]) -> Any:
    """One schema of several that all hold."""
    parts = [part for part in also if part is not True and part != {}]
    if not parts:
        return base
    if False in parts:
        return False
    if not base and len(parts) == 1:
        return parts[0]
    return {**base, "allOf": parts}


def is_inexact(value: Any) -> bool:
    """Whether a value would not be written as it is."""
    if isinstance(value, list):
        return any(map(is_inexact, value))
    if isinstance(value, dict):
        return any(map(is_inexact, value.values()))
    if isinstance(value, str):
        return _CONTROL.search(value) is not None
    return isinstance(value, int | float) and abs(value) > EXACT_MAX


def few_values(spot: Spot) -> list[Any] | None:
    """All values of a schema that has few."""
    if not isinstance(spot.node, dict):
        return None
    if not spot.node.keys() <= {"enum", "const", "type", "title", "description"}:
        return None
    values = values_of(spot.node)
    if "type" in spot.node and (values is None or len(spot.node.keys() & {"enum", "const"}) > 1):
        return [False, True] if spot.node["type"] == "boolean" and values is None else None
    return values


def pattern_of(node: dict[str, Any]) -> str | None:
    """A regular expression of the names that a schema allows; empty for all of them."""
    said = {k: v for k, v in node.items() if k in _CONSTRAINTS}
    if said.get("type", "string") == "string":
        said.pop("type", None)
    values = values_of(said)
    if values is not None and said.keys() in ({"enum"}, {"const"}):
        return one_of(value for value in values if isinstance(value, str))
    if said.keys() == {"pattern"}:
        return str(said["pattern"])
    if said and said.keys() <= {"minLength", "maxLength"}:
        return f"^(?s:.{{{said.get('minLength', 0)},{said.get('maxLength', '')}}})$"
    return None if said else ""


def any_of_patterns(patterns: Iterable[str]) -> str:
    """A regular expression of what one of these matches."""
    found = sorted(set(patterns))
    return found[0] if len(found) == 1 else "|".join(f"(?:{each})" for each in found)
