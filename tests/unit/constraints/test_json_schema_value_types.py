"""Whether two JSON schemas have values in common, as far as that can be told."""

from __future__ import annotations

from typing import Any

import pytest

from llama_cpp.constraints.json_schema.recursion import stuck
from llama_cpp.constraints.json_schema.value_types import Branches, is_of, kind_of, type_of

DEFINITIONS: dict[str, Any] = {
    "text": {"type": "string"},
    "loop": {"$ref": "loop"},
    "cat": {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
}
DOG = {"properties": {"kind": {"enum": ["dog", "wolf"]}}, "required": ["kind"]}
WOLF = {**DOG, "type": "object"}
A: dict[str, Any] = {"properties": {"a": {}}, "required": ["a"]}
OPTIONAL_A: dict[str, Any] = {"properties": {"a": {}}}
B: dict[str, Any] = {"properties": {"b": {}}, "required": ["b"]}

APART: tuple[tuple[Any, Any], ...] = (
    ({"type": "string"}, {"type": "integer"}),
    ({"type": ["string", "null"]}, {"type": ["integer", "array"]}),
    ({"const": 1}, {"const": 2}),
    ({"const": True}, {"const": 1}),
    ({"enum": [1, "a"]}, {"enum": [2, "b"]}),
    ({"const": 1}, {"type": "string"}),
    ({"$ref": "text"}, {"type": "null"}),
    ({"$ref": "cat"}, DOG),
    ({"anyOf": [{"$ref": "cat"}, {"type": "null"}]}, {"oneOf": [WOLF, {"type": "string"}]}),
    ({"allOf": [{"enum": ["a"]}]}, {"type": "integer"}),
    (A, B),
    (A, {"type": "object", "properties": {}, "additionalProperties": False}),
    (
        {"properties": {"x": {"$ref": "cat"}}, "required": ["x"]},
        {"properties": {"x": DOG}, "required": ["x"]},
    ),
)
PERHAPS_NOT: tuple[tuple[Any, Any], ...] = (
    ({}, {"type": "null"}),
    # Only objects need the property.
    ({"type": "null"}, DOG),
    ({"type": "number"}, {"type": "integer"}),
    ({"const": 1}, {"const": 1.0}),
    ({"const": {"a": 1, "b": 2}}, {"const": {"b": 2, "a": 1}}),
    ({"const": 1.0}, {"type": "integer"}),
    ({"type": "integer", "maximum": 1}, {"type": "integer", "minimum": 2}),
    (A, OPTIONAL_A),
    (A, {**B, "additionalProperties": True}),
    (OPTIONAL_A, {"type": "object"}),
    ({"$ref": "cat"}, {"properties": {"kind": {"type": "string"}}}),
    ({"$ref": "loop"}, {"$ref": "loop"}),
    ({"type": "null"}, True),
)


@pytest.mark.parametrize(("one", "other"), APART)
def test_schemas_without_a_value_in_common(one: Any, other: Any) -> None:
    branches = Branches(DEFINITIONS.__getitem__)
    assert branches.apart(one, other)
    assert branches.apart(other, one)


@pytest.mark.parametrize(("one", "other"), PERHAPS_NOT)
def test_schemas_that_may_have_one(one: Any, other: Any) -> None:
    branches = Branches(DEFINITIONS.__getitem__)
    assert not branches.apart(one, other)
    assert not branches.apart(other, one)
    assert not branches.gave_up


def test_what_is_too_much_to_tell() -> None:
    branches = Branches(DEFINITIONS.__getitem__)
    many = {"anyOf": [{"anyOf": [{"const": i} for i in range(1000)]}]}
    assert not branches.apart(many, {"anyOf": [{"const": -i} for i in range(1, 1000)]})
    assert branches.gave_up


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({}, "any"),
        ({"$ref": "#/a", "type": "string"}, "$ref"),
        ({"anyOf": [{}], "oneOf": [{}]}, "oneOf"),
        ({"type": ["string"], "const": 1}, "types"),
        ({"type": "string", "const": 1, "enum": [1]}, "const"),
        ({"properties": {}, "allOf": [{}]}, "object"),
        ({"additionalProperties": False}, "object"),
        ({"additionalProperties": True}, "any"),
        ({"type": "object", "allOf": [{}]}, "allOf"),
        ({"allOf": [{}], "items": {}}, "allOf"),
        ({"prefixItems": [{}], "pattern": "a"}, "array"),
        ({"maxLength": 3}, "string"),
        ({"format": "date"}, "string"),
        ({"format": "email"}, "any"),
        ({"minItems": 3}, "any"),
        ({"type": "integer", "items": {}}, "integer"),
    ],
)
def test_what_a_schema_is_taken_for(schema: Any, kind: str) -> None:
    assert kind_of(schema) == kind


def test_types_of_values() -> None:
    values = [{}, [], "", 0.5, 1, True, None, 2.0]
    types = ["object", "array", "string", "number", "integer", "boolean", "null", "integer"]
    assert list(map(type_of, values)) == types
    assert is_of(1, ["number"]) and not is_of(0.5, ["integer"]) and not is_of(True, ["integer"])


def test_places_that_are_never_done() -> None:
    assert stuck({"a": (True, ["b"]), "b": (True, [])}) is None
    assert stuck({"a": (True, ["b"]), "b": (True, ["a"])}) == "a"
    assert stuck({"a": (False, ["a", "b"]), "b": (True, [])}) is None
    assert stuck({"a": (False, ["a"]), "b": (True, ["b", "c"]), "c": (True, [])}) == "a"
