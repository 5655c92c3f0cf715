"""``partial_json``: what an unfinished JSON text says so far."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.errors import ReplyValidationError
from llama_cpp.structured.partial import NOTHING, PartialJSON, partial_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", NOTHING),
        ("  ", NOTHING),
        ("12", NOTHING),
        ("12 ", 12),
        ('"ab', "ab"),
        ('"ab\\', "ab"),
        ('"ab\\u00e', "ab"),
        ('"\\ud83d', ""),
        ('"\\ud83d\\ude0', ""),
        ('"\\ud83d\\ude00', "\U0001f600"),
        ("{", {}),
        ('{"na', {}),
        ('{"name"', {}),
        ('{"name":', {}),
        ('{"name": "', {"name": ""}),
        ('{"name": "Jo', {"name": "Jo"}),
        ('{"name": "Jo", "age": 4', {"name": "Jo"}),
        ('{"name": "Jo", "age": 42}', {"name": "Jo", "age": 42}),
        ('{"a": tru', {}),
        ('{"a": [1, {"b": [true, nul', {"a": [1, {"b": [True]}]}),
        ('[[], ["a", "b', [[], ["a", "b"]]),
        ('{"\\"}": "}"', {'"}': "}"}),
    ],
)
def test_what_is_there(text: str, value: Any) -> None:
    assert partial_json(text) == value


@given(VALUES, st.booleans())
def test_each_value_goes_on_from_the_one_before(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    partial, before = PartialJSON(), NOTHING
    for character in text:
        partial.add(character)
        assert goes_on(before, partial.value)
        before = partial.value
    partial.finish()
    assert partial.value == value


def goes_on(before: Any, after: Any) -> bool:
    if before is NOTHING:
        return True
    if isinstance(before, str):
        return isinstance(after, str) and after.startswith(before)
    if isinstance(before, list):
        return len(after) >= len(before) and all(map(goes_on, before, after))
    if isinstance(before, dict):
        return all(name in after and goes_on(before[name], after[name]) for name in before)
    return bool(before == after)


def test_what_a_schema_says_of_whole_strings_is_not_broken_on_the_way() -> None:
    schema = {
        "$defs": {"colour": {"enum": ["green", "greenish"]}, "node": {
            "type": "object", "required": ["next"],
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                           "label": {"type": "string"}}}},
        "type": "object",
        "properties": {
            "colour": {"$ref": "#/$defs/colour"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "when": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"},
            "pair": {"prefixItems": [{"const": "left"}], "items": {"type": "string"}},
            "tree": {"$ref": "#/$defs/node"},
            "long": {"type": "string", "minLength": 3},
            "both": {"allOf": [{"type": "string"}, {"pattern": "^ab$"}]},
        },
        "additionalProperties": {"enum": ["other"]},
    }  # fmt: skip
    value = {
        "colour": "greenish", "note": "as you like", "when": "2024-05", "pair": ["left", "right"],
        "tree": {"next": {"next": None, "label": "leaf"}},
        "long": "l\u00f6\U0001f600ng", "both": "ab", "more": "other",
    }  # fmt: skip
    relaxed = {**schema, "$defs": json.loads(json.dumps(schema["$defs"]))}
    del relaxed["$defs"]["node"]["required"]
    validator = jsonschema.Draft202012Validator(relaxed)
    text, steps = json.dumps(value), []
    for end in range(len(text) + 1):
        so_far = partial_json(text[:end], schema)
        if so_far is not NOTHING:
            validator.validate(so_far)
            steps.append(so_far)
    notes = {step["note"] for step in steps if "note" in step}
    labels = {
        step["tree"]["next"].get("label") for step in steps if step.get("tree", {}).get("next")
    }
    assert {"", "as yo", "as you like"} <= notes and {None, "le", "leaf"} <= labels
    lengths = {len(step["long"]) for step in steps if "long" in step}
    assert lengths == {3, 4, 5}
    assert steps[-1] == value


def test_a_schema_that_refers_to_itself_without_end_ends() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert partial_json('"ab', schema) is NOTHING
    assert partial_json('"ab"', {"$ref": "elsewhere"}) == "ab"


@pytest.mark.parametrize(
    "text", ["Hello world.", "{1: 2}", '["a" "b"]', '{"a": 1}]', "[1,]", '{"\\x": 1}']
)
def test_what_is_no_json_is_told(text: str) -> None:
    with pytest.raises(ReplyValidationError, match="no JSON"):
        partial_json(text)
