"""What a JSON schema says of a place in its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_OF_WHOLE_STRINGS = frozenset(("enum", "const", "format", "pattern", "minLength", "not", "if"))
_DEEPEST = 64
"""So many references and unions are followed; a schema may refer to itself."""


def may_grow(schema: Mapping[str, Any] | None, path: Sequence[str | int]) -> bool:
    """Whether the beginning of a string at a place satisfies the schema too.

    Args:
        schema: What the whole value satisfies; None: anything does.
        path: The place.
    """
    if schema is None:
        return True
    here = list(_alternatives(schema, schema, _DEEPEST))
    for step in path:
        below = [_below(each, step) for each in here]
        here = [each for part in below for each in _alternatives(schema, part, _DEEPEST)]
    return any(_takes_any_string(each) for each in here)


def _takes_any_string(schema: Mapping[str, Any]) -> bool:
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
