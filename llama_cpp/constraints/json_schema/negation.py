"""Schemas of what another schema does not allow, as far as there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any, Protocol

from .array_forms import containing
from .formats import other_than
from .spots import Spot
from .value_types import TYPES, canonical, values_of

_DEPTH_MAX = 5
_TYPES = [name for name in TYPES if name != "integer"]
_PAIRS_MAX = 15


class Rewriting(Protocol):
    """What turns a schema into one that can be enforced."""

    def rewritten(self, spot: Spot) -> Any:
        """The schema in llguidance's keywords."""

    def step(self) -> None:
        """Count how often a part of the schema is needed."""

    def negated(self, spot: Spot) -> Any:
        """A schema of other values, or None if there is none."""


class Negation:
    """Makes schemas of which no value satisfies another one.

    They need not allow everything else: what cannot be said is left out.

    Args:
        rewriting: Turns schemas into what can be enforced.
    """

    def __init__(self, rewriting: Rewriting) -> None:
        self._rewriting = rewriting
        self._followed: set[str] = set()

    def of(self, spot: Spot, depth: int = 0) -> Any:
        """The schema of other values, or None if there is none."""
        node = spot.node
        if isinstance(node, bool):
            return not node
        self._rewriting.step()
        if depth > _DEPTH_MAX:
            return None
        if spot.ref_is_alone and "$ref" in node:
            node = {"$ref": node["$ref"]}
        options: list[Any] = []
        is_any = True
        if (values := values_of(node)) is not None:
            is_any = False
            options += _other_values(values)
        for keyword in node:
            way = _WAYS.get(keyword)
            if way is None:
                is_any = is_any and keyword not in _SILENT
            else:
                found = way(self, spot, depth)
                is_any = is_any and found == [False]
                options += found
        if is_any:
            return False
        options = [option for option in options if option is not None]
        if not options:
            return None
        options = [option for option in options if option is not False]
        return {"anyOf": options} if options else False

    def _each(self, spots: Iterable[Spot], depth: int) -> list[Any]:
        return [self.of(spot, depth + 1) for spot in spots]

    def _type(self, spot: Spot, depth: int) -> list[Any]:
        wanted = spot.node["type"]
        taken = {wanted} if isinstance(wanted, str) else set(wanted)
        # Which numbers are no integers cannot be said.
        without = {*taken, "number"} if "integer" in taken else taken
        left = [name for name in _TYPES if name not in without]
        return [{"type": left}] if left else [None if "integer" in taken else False]

    def _reference(self, spot: Spot, depth: int) -> list[Any]:
        target = spot.target(spot.node["$ref"])
        if target is None or target.place in self._followed:
            return [None]
        self._followed.add(target.place)
        try:
            return [self.of(target, depth + 1)]
        finally:
            self._followed.remove(target.place)

    def _any_of(self, spot: Spot, depth: int) -> list[Any]:
        others = self._each(spot.numbered("anyOf"), depth)
        return [_all_of(others)]

    def _all_of(self, spot: Spot, depth: int) -> list[Any]:
        return self._each(spot.numbered("allOf"), depth)

    def _one_of(self, spot: Spot, depth: int) -> list[Any]:
        options = spot.numbered("oneOf")
        pairs = list(combinations(options, 2))[:_PAIRS_MAX]
        both = [{"allOf": [self._rewriting.rewritten(each) for each in pair]} for pair in pairs]
        return [_all_of(self._each(options, depth)), *both]

    def _not(self, spot: Spot, depth: int) -> list[Any]:
        return [self._rewriting.rewritten(spot["not",])]

    def _if(self, spot: Spot, depth: int) -> list[Any]:
        found = []
        if "then" in spot.node:
            then = self.of(spot["then",], depth + 1)
            found.append(_all_of([self._rewriting.rewritten(spot["if",]), then]))
        if "else" in spot.node:
            found.append(
                _all_of([self.of(each, depth + 1) for each in (spot["if",], spot["else",])])
            )
        return found or [False]

    def _required(self, spot: Spot, depth: int) -> list[Any]:
        names = spot.node["required"]
        return [{"type": "object", "properties": {name: False}} for name in names] or [False]

    def _properties(self, spot: Spot, depth: int) -> list[Any]:
        found = {name: self.of(each, depth + 1) for name, each in spot.named("properties").items()}
        return [
            _or_none({"type": "object", "properties": {name: other}, "required": [name]}, other)
            for name, other in found.items()
        ] or [False]

    def _additional_properties(self, spot: Spot, depth: int) -> list[Any]:
        other = self.of(spot["additionalProperties",], depth + 1)
        if spot.node.get("patternProperties"):
            return [None]
        known = dict.fromkeys(spot.node.get("properties", ()), False)
        return [
            _or_none({"type": "object", "properties": known, "additionalProperties": other,
                      "minProperties": 1}, other),
        ]  # fmt: skip

    def _items(self, spot: Spot, depth: int) -> list[Any]:
        node = spot.node
        if isinstance(node["items"], list) or "prefixItems" in node:
            return [None]
        other = self.of(spot["items",], depth + 1)
        options = [] if other is None else containing(other, None, 1, None)
        return [_or_none({"type": "array", "anyOf": options}, other)]

    def _prefix_items(self, spot: Spot, depth: int) -> list[Any]:
        others = self._each(spot.numbered("prefixItems"), depth)
        return [
            _or_none({"type": "array", "prefixItems": [{}] * index + [other],
                      "minItems": index + 1}, other)
            for index, other in enumerate(others)
        ]  # fmt: skip

    def _contains(self, spot: Spot, depth: int) -> list[Any]:
        if spot.node.get("minContains", 1) != 1 or "maxContains" in spot.node:
            return [None]
        other = self.of(spot["contains",], depth + 1)
        return [None if other is None else {"type": "array", "items": other}]

    def _dependent_required(self, spot: Spot, depth: int) -> list[Any]:
        return [
            {"type": "object", "required": [name], "properties": {other: False}}
            for name, others in spot.node["dependentRequired"].items()
            for other in others
            if other != name
        ] or [False]


def _or_none(schema: dict[str, Any], part: Any) -> Any:
    return part if part is None or part is False else schema


def _all_of(parts: list[Any]) -> Any:
    if None in parts:
        return None
    return False if False in parts else {"allOf": parts}


def _bound(type_: str, keyword: str, step: int = 0) -> Callable[[Negation, Spot, int], list[Any]]:
    """The way to negate a bound: what is above a maximum, or below a minimum."""
    opposite = {
        "minimum": "exclusiveMaximum", "maximum": "exclusiveMinimum",
        "exclusiveMinimum": "maximum", "exclusiveMaximum": "minimum",
        "minLength": "maxLength", "maxLength": "minLength", "minItems": "maxItems",
        "maxItems": "minItems", "minProperties": "maxProperties",
        "maxProperties": "minProperties",
    }[keyword]  # fmt: skip

    def negated(negation: Negation, spot: Spot, depth: int) -> list[Any]:
        bound = spot.node[keyword]
        if isinstance(bound, bool) or (step and bound + step < 0):
            return [None if isinstance(bound, bool) else False]
        if keyword == "maxProperties" and bound:
            return [None]  # a name that is written twice would count twice
        return [{"type": type_, opposite: bound + step}]

    return negated


def _other_values(values: list[Any]) -> list[Any]:
    """Schemas of all values but these."""
    texts = [value for value in values if isinstance(value, str)]
    flags = [value for value in values if isinstance(value, bool)]
    numbers = sorted(v for v in values if isinstance(v, int | float) and not isinstance(v, bool))
    found: list[Any] = [] if None in values else [{"type": "null"}]
    found += [{"const": flag} for flag in (False, True) if flag not in flags]
    found.append({"type": "string", **({"pattern": other_than(texts)} if texts else {})})
    bounds: list[tuple[float | None, float | None]]
    bounds = list(zip([None, *numbers], [*numbers, None], strict=True))
    for low, high in bounds:
        ends = (("exclusiveMinimum", low), ("exclusiveMaximum", high))
        if low is None or high is None or low < high:
            found.append({"type": "number", **{k: v for k, v in ends if v is not None}})
    for type_, kind, name in (("array", list, "Items"), ("object", dict, "Properties")):
        sizes = {len(value) for value in values if isinstance(value, kind)}
        if not sizes:
            found.append({"type": type_})
            continue
        # Of those with as many members some are others, too.
        if type_ == "array" or max(sizes) == 0:
            found.append({"type": type_, f"min{name}": max(sizes) + 1})
        if min(sizes):
            found.append({"type": type_, f"max{name}": min(sizes) - 1})
    found += [_other_members(value) for value in values if isinstance(value, dict)][:1]
    return [each for each in found if each is not None]


def _other_members(value: dict[str, Any]) -> Any:
    return (
        None
        if not value
        else {
            "type": "object",
            "anyOf": [
                {"required": [name], "properties": {name: {"anyOf": _other_values([inner])}}}
                for name, inner in value.items()
                if canonical(inner)
            ],
        }
    )


_WAYS: dict[str, Callable[[Negation, Spot, int], list[Any]]] = {
    "type": Negation._type,
    "$ref": Negation._reference,
    "anyOf": Negation._any_of,
    "allOf": Negation._all_of,
    "oneOf": Negation._one_of,
    "not": Negation._not,
    "if": Negation._if,
    "required": Negation._required,
    "properties": Negation._properties,
    "additionalProperties": Negation._additional_properties,
    "items": Negation._items,
    "prefixItems": Negation._prefix_items,
    "contains": Negation._contains,
    "dependentRequired": Negation._dependent_required,
    **{k: _bound("number", k) for k in ("minimum", "maximum", "exclusiveMinimum",
                                        "exclusiveMaximum")},
    "minLength": _bound("string", "minLength", -1),
    "maxLength": _bound("string", "maxLength", 1),
    "minItems": _bound("array", "minItems", -1),
    "maxItems": _bound("array", "maxItems", 1),
    "minProperties": _bound("object", "minProperties", -1),
    "maxProperties": _bound("object", "maxProperties", 1),
}  # fmt: skip

# They allow less, in a way that cannot be turned round.
_SILENT = frozenset({
    "const", "enum", "pattern", "format", "multipleOf", "uniqueItems", "patternProperties",
    "propertyNames", "dependentSchemas", "dependencies", "unevaluatedItems",
    "unevaluatedProperties", "$dynamicRef", "$recursiveRef",
})  # fmt: skip
