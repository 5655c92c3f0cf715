"""Objects whose schemas name all properties that they may have."""

from __future__ import annotations

from typing import Any

import pytest

from llama_cpp.constraints.json_schema.closing import closed

NAMED: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {**NAMED, "additionalProperties": False}


@pytest.mark.parametrize(
    "around",
    [
        lambda each: each,
        lambda each: {"type": "array", "items": each},
        lambda each: {"prefixItems": [each, True]},
        lambda each: {"anyOf": [each, {"type": "null"}]},
        lambda each: {"$ref": "#/$defs/A", "$defs": {"A": each}},
        lambda each: {"type": "object", "additionalProperties": each},
        lambda each: {"properties": {"items": each}, "additionalProperties": False},
    ],
)
def test_objects_are_closed_wherever_they_are(around: Any) -> None:
    assert closed(around(NAMED)) == around(CLOSED)


@pytest.mark.parametrize(
    "schema",
    [
        {**NAMED, "additionalProperties": True},
        {**NAMED, "patternProperties": {"^x": True}},
        {**NAMED, "required": ["b"]},
        {**NAMED, "minProperties": 2},
        {**NAMED, "anyOf": [{"properties": {"b": True}}]},
        {"allOf": [NAMED, {"properties": {"b": True}}]},
        {"if": NAMED, "then": {"required": ["b"]}},
        {"$ref": "#/$defs/A", "properties": {"b": True}, "$defs": {"A": NAMED}},
        {"type": "object"},
        {"properties": {"a": 1}, "enum": [{"properties": {}}], "required": ["c"]},
        True,
    ],
)
def test_what_others_add_to_stays_open(schema: Any) -> None:
    assert closed(schema) == schema
