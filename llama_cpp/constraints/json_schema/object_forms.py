"""How many members an object has, and which names, said by which of its properties are there."""

from __future__ import annotations

from itertools import combinations, islice
from typing import Any

_OPTIONS_MAX = 64


def counted(node: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Say numbers of properties as llguidance takes them.

    It counts only where all properties that have a schema are required.

    Args:
        node: The schema.

    Returns:
        ``minProperties`` and ``maxProperties`` where they can stay, and schemas that hold besides.
    """
    required = set(node.get("required", ()))
    optional = [
        name for name, inner in node.get("properties", {}).items()
        if name not in required and inner is not False
    ]  # fmt: skip
    kept: dict[str, Any] = {k: node[k] for k in ("minProperties", "maxProperties") if k in node}
    if not optional:
        return kept, []
    closed = node.get("additionalProperties") is False and not node.get("patternProperties")
    also: list[Any] = []
    fewest = node.get("minProperties", 0) - len(required)
    if fewest > 0:
        also.append(_at_least(fewest, optional, closed, node["minProperties"]))
    if "maxProperties" in node:
        most = node["maxProperties"] - len(required)
        also.append(_at_most(most, optional, sorted(required), closed, node["maxProperties"]))
    return {}, also


def _at_least(fewest: int, optional: list[str], closed: bool, count: int) -> Any:
    if fewest > len(optional):
        return False if closed else {"required": optional, "minProperties": count}
    chosen = islice(combinations(optional, fewest), _OPTIONS_MAX)
    return {"anyOf": [_NO_OBJECT, *({"required": list(names)} for names in chosen)]}


def _at_most(most: int, optional: list[str], required: list[str], closed: bool, count: int) -> Any:
    if most < 0:
        return _NO_OBJECT
    if most >= len(optional):
        if closed:
            return {}
        known = dict.fromkeys([*optional, *required], True)
        options: list[Any] = [{"properties": known, "additionalProperties": False}]
        return {"anyOf": [*options, {"required": optional, "maxProperties": count}]}
    options = []
    for names in islice(combinations(optional, most), _OPTIONS_MAX):
        members = {name: name in names for name in optional} | dict.fromkeys(required, True)
        options.append({"properties": members, "additionalProperties": False})
    if not closed:
        absent = dict.fromkeys(optional, False)
        options.append({"properties": absent, "maxProperties": count})
    return {"anyOf": options}


_NO_OBJECT = {"type": ["null", "boolean", "number", "string", "array"]}
