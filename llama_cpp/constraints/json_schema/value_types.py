"""What the values of a JSON schema are, as far as it can be told: kinds, types, overlaps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

Schema = dict[str, Any]  # or a bool, which no grammar is made of

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
KNOWN_FORMATS = frozenset({"date", "time", "date-time", "uuid", *(f"uuid{i}" for i in range(1, 6))})

_STEPS_MAX = 200_000  # about a second
_DEPTH_MAX = 16


def kind_of(schema: Schema) -> str:
    """What the engine's converter takes a schema for; it looks at keywords in this order.

    Returns:
        One of ``$ref``, ``oneOf``, ``anyOf``, ``types``, ``const``, ``enum``, ``allOf``, ``any``
        and ``TYPES``.
    """
    for keyword in ("$ref", "oneOf", "anyOf"):
        if keyword in schema:
            return keyword
    type_ = schema.get("type")
    if isinstance(type_, list):
        return "types"
    for keyword in ("const", "enum"):
        if keyword in schema:
            return keyword
    has_properties = "properties" in schema or schema.get("additionalProperties", True) is not True
    if type_ == "object" or (type_ is None and has_properties):
        return "allOf" if "allOf" in schema and not has_properties else "object"
    if type_ == "string":
        return "allOf" if "allOf" in schema else "string"
    if type_ is not None:
        return str(type_)
    if "allOf" in schema:
        return "allOf"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if (
        schema.keys() & {"pattern", "minLength", "maxLength"}
        or schema.get("format") in KNOWN_FORMATS
    ):
        return "string"
    return "any"


def type_of(value: Any) -> str:
    """The narrowest type of a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if value == int(value) else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def is_of(value: Any, types: Iterable[str]) -> bool:
    """Whether a value has one of these types; an integer is a number too."""
    narrowest = type_of(value)
    return narrowest in types or (narrowest == "integer" and "number" in types)


def values_of(schema: Schema) -> list[Any] | None:
    """The values of a ``const`` or ``enum``."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


class Branches:
    """Tells whether two schemas have a value in common.

    Args:
        resolve: Gives the schema that a ``$ref`` leads to.
    """

    def __init__(self, resolve: Callable[[str], Schema]) -> None:
        self._resolve = resolve
        self._steps = 0

    def apart(self, one: Schema, other: Schema) -> bool:
        """Whether it is certain that no value written for one satisfies the other."""
        return self._excludes(one, other, 0) and self._excludes(other, one, 0)

    @property
    def gave_up(self) -> bool:
        """Whether there was too much to tell."""
        return self._steps > _STEPS_MAX

    def types_written(self, schema: Any, depth: int = 0) -> set[str]:
        """The types of the values that a grammar of the schema may write."""
        if self._is_too_much(depth) or not isinstance(schema, dict):
            return set(TYPES)
        kind = kind_of(schema)
        if kind == "any":
            return set(TYPES)
        if kind in ("oneOf", "anyOf", "$ref"):
            below = [self._resolve(schema[kind])] if kind == "$ref" else schema[kind]
            return {each for part in below for each in self.types_written(part, depth + 1)}
        if kind == "types":
            return set(schema["type"])
        if kind in ("const", "enum"):
            return {type_of(value) for value in values_of(schema) or []}
        if kind == "allOf":
            return set.intersection(*(self.types_written(p, depth + 1) for p in schema["allOf"]))
        return {kind}

    def _excludes(self, written: Any, read: Any, depth: int) -> bool:
        """Whether no value that is written for the one schema satisfies the other."""
        if self._is_too_much(depth) or not isinstance(written, dict) or not isinstance(read, dict):
            return False
        below = depth + 1
        kind = kind_of(written)
        if kind == "$ref":
            return self._excludes(self._resolve(written["$ref"]), read, below)
        if kind in ("oneOf", "anyOf"):
            return all(self._excludes(part, read, below) for part in written[kind])
        if "$ref" in read:
            return self._excludes(written, self._resolve(read["$ref"]), below)
        for keyword in ("oneOf", "anyOf"):
            if keyword in read and all(self._excludes(written, p, below) for p in read[keyword]):
                return True
        if any(self._excludes(written, part, below) for part in read.get("allOf", ())):
            return True
        return (
            self._types_exclude(written, read, depth)
            or _values_exclude(values_of(written), values_of(read))
            or (kind == "object" and self._members_exclude(written, read, below))
        )

    def _is_too_much(self, depth: int) -> bool:
        """Whether to give up, which is asked once per step."""
        self._steps += 1
        return depth > _DEPTH_MAX or self._steps > _STEPS_MAX

    def _types_exclude(self, written: Schema, read: Schema, depth: int) -> bool:
        types = self.types_written(written, depth)
        wanted = read.get("type", TYPES)
        allowed = {wanted} if isinstance(wanted, str) else set(wanted)
        if (values := values_of(read)) is not None:
            allowed = set(map(type_of, values))
        # A number may turn out to be an integer.
        return not _widened(types) & _widened(allowed)

    def _members_exclude(self, written: Schema, read: Schema, depth: int) -> bool:
        """Whether no object of the one has the members that the other needs."""
        own, other = written.get("properties", {}), read.get("properties", {})
        own_required, other_required = written.get("required", ()), read.get("required", ())
        closed = written.get("additionalProperties", "properties" not in written) is False
        if closed and any(name not in own for name in other_required):
            return True
        alone = read.get("additionalProperties") is False and "patternProperties" not in read
        if alone and any(name in own and name not in other for name in own_required):
            return True
        return any(
            self._excludes(own[name], other[name], depth)
            for name in own.keys() & other.keys()
            if name in own_required or name in other_required
        )


def _widened(types: Iterable[str]) -> set[str]:
    return {"number" if name == "integer" else name for name in types}


def _values_exclude(written: list[Any] | None, read: list[Any] | None) -> bool:
    if written is None or read is None:
        return False
    return not set(map(canonical, written)) & set(map(canonical, read))


def canonical(value: Any) -> str:
    """The same text for equal JSON values, as JSON schemas compare them."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
