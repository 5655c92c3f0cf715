"""Which members and items other keywords have seen: ``unevaluatedProperties`` and ``-Items``."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from .expressible import any_of_patterns
from .negation import Rewriting
from .spots import Spot

_DEPTH_MAX = 8
_WAYS_MAX = 32


@dataclass
class _Seen:
    """What the keywords of a schema look at."""

    names: set[str] = field(default_factory=set)
    patterns: set[str] = field(default_factory=set)
    all_members: bool = False
    n_items: int = 0
    all_items: bool = False

    def joined(self, other: _Seen) -> _Seen:
        return _Seen(
            self.names | other.names,
            self.patterns | other.patterns,
            self.all_members or other.all_members,
            max(self.n_items, other.n_items),
            self.all_items or other.all_items,
        )


_Way = tuple[list[Any], _Seen]


def closed_to(rewriting: Rewriting, spot: Spot) -> Any:
    """A schema of what no other keyword sees.

    What is seen depends on which options of a union a value takes; a schema is made for each way
    through them, as far as there are few.

    Args:
        rewriting: Rewrites schemas.
        spot: A schema with ``unevaluatedProperties`` or ``unevaluatedItems``.
    """
    ways = _ways(rewriting, spot, 0)
    options = [{"allOf": [*parts, _closed(rewriting, spot, seen)]} for parts, seen in ways]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _ways(rewriting: Rewriting, spot: Spot, depth: int) -> list[_Way]:
    """The ways through the options of a schema: what takes them, and what they see."""
    ways: list[_Way] = [([], _seen(spot, depth))]
    node = spot.node
    if not isinstance(node, dict) or depth > _DEPTH_MAX:
        return ways

    def inside(each: Spot | None) -> list[_Way]:
        return [([], _Seen())] if each is None else _ways(rewriting, each, depth + 1)

    def taken(each: Spot) -> list[_Way]:
        return _both([([rewriting.rewritten(each)], _Seen())], inside(each))

    if isinstance(node.get("$ref"), str):
        ways = _both(ways, inside(spot.target(node["$ref"])))
    for part in spot.numbered("allOf") if "allOf" in node else ():
        ways = _both(ways, inside(part))
    for keyword in ("anyOf", "oneOf"):
        if keyword in node:
            singles = [taken(each) for each in spot.numbered(keyword)]
            pairs = combinations(singles, 2) if keyword == "anyOf" else ()
            several = [way for one, other in pairs for way in _both(one, other)]
            ways = _both(ways, [way for single in singles for way in single] + several)
    if "if" in node:
        then = spot["then",] if "then" in node else None
        otherwise = spot["else",] if "else" in node else None
        other = rewriting.negated(spot["if",])
        options = _both(taken(spot["if",]), inside(then))
        if other is not None:
            options += _both([([other], _Seen())], inside(otherwise))
        ways = _both(ways, options)
    for name, each in spot.named("dependentSchemas").items():
        present: _Way = ([{"required": [name]}], _Seen())
        absent: _Way = ([{"properties": {name: False}}], _Seen())
        ways = _both(ways, [absent, *_both([present], inside(each))])
    return ways


def _both(ways: list[_Way], others: list[_Way]) -> list[_Way]:
    """The ways that take one of these and one of those."""
    return [([*parts, *more], seen.joined(also)) for parts, seen in ways for more, also in others][
        :_WAYS_MAX
    ]


def _closed(rewriting: Rewriting, spot: Spot, seen: _Seen) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    if "unevaluatedProperties" in spot.node and not seen.all_members:
        schema["properties"] = dict.fromkeys(sorted(seen.names), True)
        schema["additionalProperties"] = rewriting.rewritten(spot["unevaluatedProperties",])
        if seen.patterns:
            schema["patternProperties"] = {any_of_patterns(seen.patterns): True}
    if "unevaluatedItems" in spot.node and not seen.all_items:
        schema["prefixItems"] = [True] * seen.n_items
        schema["items"] = rewriting.rewritten(spot["unevaluatedItems",])
    return schema


def _seen(spot: Spot, depth: int) -> _Seen:
    node = spot.node
    seen = _Seen()
    if not isinstance(node, dict) or depth > _DEPTH_MAX:
        return seen
    seen.names |= set(node.get("properties", ()))
    seen.patterns |= set(node.get("patternProperties", ()))
    seen.all_members = "additionalProperties" in node or (
        depth > 0 and "unevaluatedProperties" in node
    )
    prefix: Any = node.get("prefixItems", node.get("items"))
    seen.n_items = len(prefix) if isinstance(prefix, list) else 0
    seen.all_items = (
        isinstance(node.get("items"), dict | bool)
        or "additionalItems" in node
        or (depth > 0 and "unevaluatedItems" in node)
    )
    return seen
