"""Objects with no other properties than those that their schema names."""

from __future__ import annotations

from typing import Any

from .converter import objects_of

# Where schemas are put together, what one names the other need not know.
_COMBINING = frozenset({
    "$dynamicRef", "$recursiveRef", "allOf", "contains", "dependentSchemas", "else", "if", "not",
    "then", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
_OWN_SAY = frozenset({"$ref", "additionalProperties", "anyOf", "oneOf", "patternProperties"})
_SCHEMAS = ("additionalProperties", "items")
_LISTS = ("anyOf", "oneOf", "prefixItems", "items")
_MAPPINGS = ("properties", "$defs", "definitions", "patternProperties")


def closed(schema: Any) -> Any:
    """Return a schema that allows no properties beside ``properties``, where it does not say so.

    A model that may add some does; the engine's converter has always read schemas like this. In
    documents that put schemas together (``allOf``, ``if``, ...) nothing is changed.

    Args:
        schema: A JSON schema.
    """
    return schema if any(map(_combines, objects_of(schema))) else _closed(schema)


def _combines(node: dict[str, Any]) -> bool:
    return bool(_COMBINING & node.keys()) or {"$ref", "properties"} <= node.keys()


def _can_be_closed(schema: dict[str, Any]) -> bool:
    named = schema.get("properties")
    if not isinstance(named, dict) or _OWN_SAY & schema.keys():
        return False
    return named.keys() >= {*schema.get("required", ())} and (
        len(named) >= schema.get("minProperties", 0)
    )


def _closed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    if _can_be_closed(found):
        found["additionalProperties"] = False
    beside = "properties" in found and bool({"anyOf", "oneOf"} & found.keys())
    for name in _SCHEMAS:
        if name in found:
            found[name] = _closed(found[name])
    for name in _LISTS:
        if isinstance(found.get(name), list) and not (beside and name in ("anyOf", "oneOf")):
            found[name] = [_closed(each) for each in found[name]]
    for name in _MAPPINGS:
        if isinstance(found.get(name), dict):
            found[name] = {key: _closed(each) for key, each in found[name].items()}
    return found
