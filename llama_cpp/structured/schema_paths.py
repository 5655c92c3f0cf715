"""What a JSON schema says of a place in its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_OF_WHOLE_STRINGS = frozenset(("enum", "const", "format", "pattern", "not", "if"))
_DEEPEST = 64
"""So many references and unions are followed; a schema may refer to itself."""


def least_length(schema: Mapping[str, Any] | None, path: Sequence[str | int]) -> int | None:
    """How long the beginning of a string at a place has to be to satisfy the schema too.

    Args:
        schema: What the whole value satisfies; None: anything does.
        path: The place.

    Returns:
        Characters; None if no beginning of a string has to satisfy it.
    """
    if schema is None:
        return 0
    here = list(_alternatives(schema, schema, _DEEPEST))
    for step in path:
        below = [_below(each, step) for each in here]
        here = [each for part in below for each in _alternatives(schema, part, _DEEPEST)]
    lengths = [each.get("minLength", 0) for each in here if _takes_beginnings(each)]
    return min(lengths, default=None)


def _takes_beginnings(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type", "string")
    return (kind == "string" or "string" in kind) and _OF_WHOLE_STRINGS.isdisjoint(schema)


def _alternatives(root: Mapping[str, Any], schema: Any, fuel: int) -> Iterator[Mapping[str, Any]]:
    """The schemas of which a value satisfies one, without references and unions."""
    if schema is True:
        yield {}
    # What several schemas say together is not worked out: strings then come whole.
    if not isinstance(schema, Mapping) or "allOf" in schema or not fuel:
        return
    parts = schema.get("anyOf") or schema.get("oneOf") or ()
    if "$ref" in schema:
        parts = [_referred(root, schema["$ref"])]
    if not parts:
        yield schema
        return
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf", "$ref")}
    for part in parts:
        for each in _alternatives(root, part, fuel - 1):
            yield {**rest, **each}


def _referred(root: Any, reference: Any) -> Any:
    place = root
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    for name in reference.split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        place = place.get(name) if isinstance(place, Mapping) else None
    return place


def _below(schema: Mapping[str, Any], step: str | int) -> Any:
    if isinstance(step, int):
        first = schema.get("prefixItems") or ()
        return first[step] if step < len(first) else schema.get("items", True)
    properties = schema.get("properties") or {}
    if step in properties:
        return properties[step]
    return None if "patternProperties" in schema else schema.get("additionalProperties", True)
