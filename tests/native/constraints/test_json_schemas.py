"""Grammars of JSON schemas: every value that is written satisfies the schema, or there is none."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from grammar_kit import Reader, written
from jsonschema import Draft7Validator, Draft202012Validator
from llama_kit import open_llama
from zoo import Zoo

from llama_cpp.constraints.json_schema.patterns import unfaithful
from llama_cpp.errors import GrammarError
from llama_cpp.handles import Model
from llama_cpp.llama import Llama
from llama_cpp.llama_grammar import LlamaGrammar, check_json_schema, json_schema_to_gbnf

WORD = {"type": "string", "pattern": "^[a-z]{1,4}$"}
A = {"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]}
B = {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}

HONOURED: dict[str, dict[str, Any]] = {
    "annotations": {
        "title": "t", "description": "d", "default": 1, "examples": [2], "deprecated": True,
        "readOnly": True, "$comment": "c", "$schema": "s", "$id": "i", "x-mine": {}, "type": "null",
        "discriminator": {"propertyName": "kind"}, "nullable": True, "format": "unheard-of",
    },
    "any": {},
    "type": {"type": "boolean"},
    "types": {"type": ["integer", "string", "null"], "maximum": -5, "maxLength": 3},
    "types with a container": {"type": ["array", "null"], "items": {"type": "integer"}},
    "const": {"const": {"a": [1.5, None, "é\"\\\n"]}},
    "const with its type": {"type": "integer", "const": 4},
    "enum": {"enum": ["a", 1, None, {"b": []}, 1e300]},
    "enum with types": {"type": ["string", "null"], "enum": ["a", None]},
    "enum that says what const does": {"const": "a", "enum": ["a", "b"]},
    "minLength": {"type": "string", "minLength": 3, "maxLength": 9},
    "minLength alone": {"minLength": 2},
    "maxLength": {"type": "string", "maxLength": 2},
    "maxLength 0": {"type": "string", "maxLength": 0},
    "lengths of numbers": {"type": "integer", "minLength": 3, "pattern": "x", "minItems": 5},
    "pattern": {"type": "string", "pattern": r"^(?:a|bc)+-[x-z0-9]{2}\.(é)*[^a-z\]]?.$"},
    "pattern of escapes": {"pattern": r"^\[\x41\u00e9\-[\-\]\x30-\x39]{3}\$$"},
    "pattern without a limit": {"type": "string", "pattern": "^a{2,}b{0,2}(c|)d{3}$"},
    "minimum": {"type": "integer", "minimum": 100},
    "minimum with zeros": {"type": "integer", "minimum": 1050},
    "minimum below 0": {"type": "integer", "minimum": -105},
    "maximum": {"type": "integer", "maximum": 1050},
    "maximum below 0": {"type": "integer", "maximum": -15},
    "range": {"type": "integer", "minimum": -105, "maximum": 20},
    "range of fractions": {"type": "integer", "minimum": 0.5, "maximum": 3.5},
    "exclusiveMinimum": {"type": "integer", "exclusiveMinimum": 9, "exclusiveMaximum": 12},
    "both minimums": {"type": "integer", "minimum": 10, "exclusiveMinimum": 3, "maximum": 99},
    "multipleOf 1": {"type": "integer", "multipleOf": 1},
    "number": {"type": "number"},
    "items": {"type": "array", "items": {"type": "integer"}},
    "items alone": {"items": {"type": "boolean"}, "maxItems": 3},
    "minItems": {"type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 5},
    "minItems alone": {"type": "array", "minItems": 1, "maxItems": 2},
    "maxItems 0": {"type": "array", "maxItems": 0},
    "prefixItems": {"type": "array", "prefixItems": [WORD, {"type": "integer"}], "minItems": 2},
    "items of an older draft": {"items": [{"type": "integer"}], "additionalItems": False},
    "unevaluatedItems": {"prefixItems": [{"type": "null"}], "unevaluatedItems": False},
    "uniqueItems false": {"type": "array", "maxItems": 2, "uniqueItems": False},
    "properties": {"properties": {"a": WORD, "b_c": {"type": "integer"}, "é\"\n": {"const": 1}}},
    "required": {
        "type": "object", "required": ["b", "a"],
        "properties": {"a": WORD, "b": WORD, "c": WORD, "d": WORD},
    },
    "object": {"type": "object"},
    "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer"}},
    "additionalProperties false": {"type": "object", "additionalProperties": False},
    "additionalProperties beside others": {
        "properties": {"a": {"const": 1}, "ab": {"const": 2}, "^x": {}, "]-": {"const": 4}},
        "required": ["a"], "additionalProperties": {"type": "null"},
    },
    "numbers of properties": {
        "properties": {"a": WORD, "b": WORD}, "required": ["a"], "minProperties": 1,
        "maxProperties": 2, "additionalProperties": False, "propertyNames": {"type": "string"},
    },
    "anyOf": {"anyOf": [{"type": "integer"}, {"type": "null"}, A]},
    "anyOf with its type": {"type": "object", "anyOf": [A, B]},
    "oneOf of types": {"oneOf": [{"type": "integer"}, WORD, {"type": "array", "maxItems": 1}]},
    "oneOf of values": {"oneOf": [{"const": "a", "title": "A"}, {"enum": ["b", 1]}]},
    "oneOf of kinds": {"oneOf": [A, {"$ref": "#/$defs/b"}], "$defs": {"b": B}},
    "oneOf of other properties": {
        "oneOf": [
            {"properties": {"a": WORD}, "required": ["a"]},
            {"properties": {"b": WORD}, "required": ["b"]},
        ]
    },
    "allOf of one": {"allOf": [{"$ref": "#/$defs/a"}], "default": 1, "$defs": {"a": A}},
    "allOf": {
        "type": "object", "allOf": [A, {"properties": {"x": WORD}, "required": ["x"]}],
        "required": ["kind", "x"], "unevaluatedProperties": False,
    },
    "allOf of enums": {"allOf": [{"enum": ["a", 1, 2]}, {"enum": [2, 3, "a"]}]},
    "$ref": {
        "properties": {
            "a": {"$ref": "#/$defs/w", "description": "d"}, "b": {"$ref": "#/definitions/w"},
        },
        "required": ["a", "b"], "$defs": {"w": WORD}, "definitions": {"w": {"type": "null"}},
    },
    "$ref by position": {"anyOf": [{"const": 5}, {"$ref": "#/anyOf/0", "type": "integer"}]},
    "$ref to itself": {
        "$ref": "#/$defs/tree", "$defs": {"tree": {
            "type": "object", "required": ["v"],
            "properties": {
                "v": {"const": 1}, "s": {"items": {"$ref": "#/$defs/tree"}, "maxItems": 1},
            },
        }},
    },
    "$ref that look alike": {
        "properties": {n: {"$ref": f"#/$defs/{n}"} for n in ("a", "a-b", "a_b")},
        "required": ["a", "a-b", "a_b"],
        "$defs": {
            "a": {"properties": {"b": {"enum": [1]}}, "required": ["b"]},
            "a-b": {"enum": [2]}, "a_b": {"enum": [3]},
        },
    },
    "names of the engine's own rules": {
        "properties": {
            n: {"enum": [n]} for n in ("decimal_part", "date_time", "char", "root", "space", "dot")
        } | {"n": {"type": "number"}, "t": {"type": "string", "pattern": "^.$"}},
        "required": ["decimal_part", "date_time", "char", "root", "space", "dot", "n", "t"],
    },
    "not false, if without then": {"type": "null", "not": False, "if": {"type": "null"}},
}  # fmt: skip

UNSUPPORTED: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "number", "minimum": 1}, "#", "minimum: only integers can have bounds"),
    ({"type": "number", "exclusiveMaximum": 1}, "#", "exclusiveMaximum"),
    ({"type": "number", "multipleOf": 1}, "#", "multipleOf"),
    ({"type": "integer", "multipleOf": 2}, "#", "multipleOf"),
    ({"type": "integer", "minimum": 3, "exclusiveMinimum": 3}, "#", "exclusiveMinimum"),
    ({"minimum": 3}, "#", "minimum: say also that this is of type number"),
    ({"type": "string", "maxLength": 2001}, "#", "maxLength: the engine counts to 2000"),
    ({"type": "string", "pattern": "a"}, "#", "pattern: it must begin with ^"),
    ({"type": "string", "pattern": r"^\d$"}, "#", r"pattern: \d is not known: write [0-9]"),
    ({"type": "string", "pattern": "^a$", "minLength": 1}, "#", "minLength: there is a pattern"),
    ({"type": "string", "pattern": "^a$", "format": "date"}, "#", "format: there is a pattern"),
    ({"type": "string", "format": "date", "maxLength": 1}, "#", "maxLength: there is a format"),
    ({"type": "array", "uniqueItems": True}, "#", "uniqueItems"),
    ({"type": "array", "contains": {}}, "#", "contains"),
    ({"type": "array", "maxItems": 1999, "items": {"const": 1}}, "#", "maxItems"),
    ({"prefixItems": [{}], "minItems": 2}, "#", "minItems: there will be 1"),
    ({"prefixItems": [{}, {}], "maxItems": 1}, "#", "maxItems: there will be 2"),
    ({"prefixItems": [{}], "items": {"type": "null"}}, "#", "prefixItems: leave items out"),
    ({"minItems": 2}, "#", "minItems: say also that this is of type array"),
    ({"properties": {"a": {"not": {}}}}, "#/properties/a", "not"),
    ({"items": {"if": {}, "then": {}}}, "#/items", "if"),
    ({"type": "object", "required": ["a"]}, "#", "required: 'a' is not among the properties"),
    ({"type": "object", "minProperties": 1}, "#", "minProperties"),
    ({"type": "object", "maxProperties": 1}, "#", "maxProperties"),
    ({"type": "object", "patternProperties": {"^a": {}}}, "#", "patternProperties"),
    ({"type": "object", "propertyNames": {"maxLength": 1}}, "#", "propertyNames"),
    ({"type": "object", "dependentRequired": {"a": ["b"]}}, "#", "dependentRequired"),
    ({"type": "object", "dependentSchemas": {"a": {}}}, "#", "dependentSchemas"),
    ({"type": "object", "unevaluatedProperties": False}, "#", "unevaluatedProperties"),
    ({"properties": {"*": {}}}, "#", "properties: the engine takes * for any other property"),
    ({"properties": {"": {}}, "additionalProperties": {}}, "#", "additionalProperties: there is"),
    ({"anyOf": [A, B], "required": ["kind"]}, "#", "required: it stands beside anyOf"),
    ({"anyOf": [A, {}], "type": "object"}, "#", "type: it stands beside anyOf"),
    ({"oneOf": [A, B], "anyOf": [A, B]}, "#", "anyOf: it stands beside oneOf"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "#", "oneOf: branches 0 and 1 may"),
    ({"oneOf": [A, {**B, "required": []}, {"type": "object"}]}, "#", "oneOf: branches 0 and 2"),
    ({"enum": ["a"], "minLength": 3}, "#", "minLength: it stands beside enum"),
    ({"enum": ["a"], "type": "integer"}, "#", "type: the value 'a' is of another one"),
    ({"const": 1, "enum": [2]}, "#", "enum: it stands beside const"),
    ({"allOf": [{"type": "string"}]}, "#", "allOf: its parts may only be objects"),
    ({"allOf": [A, B]}, "#", "allOf: more than one part has the property 'kind'"),
    ({"allOf": [A], "properties": {"a": {}}}, "#", "allOf: it stands beside the type object"),
    (
        {"allOf": [{"properties": {"a": {}}, "additionalProperties": False}, A]},
        "#", "allOf: a part excludes properties that others have",
    ),
    ({"$ref": "#/$defs/a", "$defs": {"a": A}, "minProperties": 2}, "#", "minProperties"),
    ({"$defs": {"a/b": A, "c": {"not": A}}, "$ref": "#/$defs/c"}, "#/$defs/c", "not"),
    ({"properties": {"a~/b": {"not": A}}}, "#/properties/a~0~1b", "not"),
    ({"$dynamicRef": "#a"}, "#", "$dynamicRef"),
    ({"items": {"$id": "x", "type": "null"}}, "#/items", "$id"),
]  # fmt: skip


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, n_ctx=1024) as model:
        yield model


@pytest.fixture(scope="module")
def reader(zoo: Zoo) -> Iterator[Reader]:
    with Model(zoo.llama) as model:
        yield Reader(model.vocab)


@pytest.mark.parametrize("name", HONOURED)
def test_what_is_written_satisfies_the_schema(llm: Llama, name: str) -> None:
    schema = HONOURED[name]
    draft = Draft7Validator if "additionalItems" in schema else Draft202012Validator
    validator = draft({k: v for k, v in schema.items() if k not in ("$id", "$schema")})
    for text in written(llm, LlamaGrammar.from_json_schema(schema)):
        value = json.loads(text)
        validator.validate(value)
        text.encode()
        # Nothing that another reader would stumble over.
        assert json.loads(json.dumps(value, allow_nan=False)) == value


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("date", r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"),
        ("time", r"([01]\d|2[0-3])(:[0-5]\d){2}(\.\d{3})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"),
        ("date-time", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?(Z|[+-]\d\d:\d\d)"),
        ("uuid", r"(?i:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"),
    ],
)
def test_formats_that_are_known(llm: Llama, format_: str, expected: str) -> None:
    for schema in ({"format": format_}, {"type": "string", "format": format_}):
        for text in written(llm, LlamaGrammar.from_json_schema(schema)):
            assert re.fullmatch(expected, json.loads(text))


def test_patterns_are_those_of_regular_expressions(llm: Llama) -> None:
    chance, tried = random.Random(5), 0
    parts = ["a", "b.", "é", "(", ")", "|", "*", "+", "?", "{2}", "{0,3}", "{1,}", ".", "[a-c]",
             "[^a]", "[\\-x]", r"\.", r"\x41", "(?:", r"\[", "-", "[^\\n-]", "]", "^",
             "(é)"]  # fmt: skip
    while tried < 60:
        pattern = f"^{''.join(chance.choices(parts, k=chance.randint(1, 7)))}$"
        # What repeats any character may not end for long.
        if unfaithful(pattern) is None and not re.search(r"[.\])]([*+]|\{1)", pattern):
            grammar = LlamaGrammar.from_json_schema({"pattern": pattern})
            for text in written(llm, grammar, 2):
                assert re.search(pattern, json.loads(text)), (pattern, text)
            tried += 1


@pytest.mark.parametrize(("schema", "place", "keyword"), UNSUPPORTED)
def test_what_no_grammar_honours_is_named_or_ignored(
    llm: Llama, schema: dict[str, Any], place: str, keyword: str, caplog: pytest.LogCaptureFixture
) -> None:
    message = f"the JSON schema at {place}: no grammar can honour {keyword}"
    with pytest.raises(GrammarError, match=re.escape(message)):
        LlamaGrammar.from_json_schema(schema, allow_unsupported=False)
    with pytest.raises(GrammarError, match=re.escape(f"parameters at {place}: no grammar")):
        check_json_schema(schema, "parameters", allow_unsupported=False)
    with caplog.at_level(logging.WARNING, "llama_cpp"):
        grammar = LlamaGrammar.from_json_schema(json.dumps(schema))
    ignored = keyword.partition(":")[0]
    assert f"the JSON schema at {place}: {ignored} is ignored" in caplog.text
    for text in written(llm, grammar, 2):
        json.loads(text)


def test_a_schema_is_checked_before_anything_is_made_of_it() -> None:
    check_json_schema({"type": "object"}, "tools[0]", allow_unsupported=False)
    with pytest.raises(GrammarError, match=r"^tools\[0\] at #: type must be one of"):
        check_json_schema({"type": "any"}, "tools[0]", allow_unsupported=True)
    with pytest.raises(GrammarError, match="at #/items: no grammar can honour uniqueItems"):
        json_schema_to_gbnf(
            {"items": {"uniqueItems": True, "type": "array"}}, allow_unsupported=False
        )


# What a grammar derives, text by text.


def test_integers_are_those_between_the_bounds(reader: Reader) -> None:
    bounds = [None, -1000, -105, -100, -10, -9, -1, 0, 1, 9, 10, 12, 99, 100, 101, 2000]
    for low in bounds:
        for high in bounds:
            if low is not None and high is not None and low > high:
                continue
            schema = {"type": "integer", "minimum": low, "maximum": high}
            schema = {name: bound for name, bound in schema.items() if bound is not None}
            grammar = LlamaGrammar.from_json_schema(schema)
            near = {
                bound + step for bound in (low, high) if bound is not None for step in (-1, 0, 1)
            }
            for number in near | {0, 5, -5, 50, 105, 1005, -1050, 10**15}:
                allowed = (low is None or number >= low) and (high is None or number <= high)
                assert reader.derives(grammar, str(number)) == allowed, (low, high, number)
            assert not any(reader.derives(grammar, text) for text in ("00", "01", "-01", "1.0", ""))


@pytest.mark.parametrize(
    ("schema", "texts", "others"),
    [
        # Other properties only where they are asked for, and in the order of the schema.
        (
            {"properties": {"a": {}, "b": {}}, "required": ["b"]},
            ['{"b":1}', '{ "b": [],"a":{"x":null} }'],
            ["{}", '{"a":1}', '{"a":1,"b":2}', '{"b":1,"c":1}', '{"b":1,}', '{"b":1'],
        ),
        (
            {"properties": {"ab": {"const": 1}}, "additionalProperties": {"const": 2}},
            ["{}", '{"ab":1}', '{"abc":2}', '{"b":2,"":2}', '{"ab":1,"é\\n":2}'],
            ['{"ab":2}', '{"a\n":2}', '{"\\u0061b":2}', '{"\\":2}', '{"x":1}'],
        ),
        (
            {"properties": {'a"b': {}, "]^-": {}, "\\": {}}, "additionalProperties": {"const": 2}},
            ['{"a\\"b":1,"]^-":1}', '{"\\\\":1}', '{"a":2}', '{"]x":2}', '{"^":2}', '{"x\\n":2}'],
            [
                '{"a"b":2}',
                '{"a\\"b":2,"a\\"b":2}',
                '{"\\\\":1,"\\\\":2}',
                '{"]^-":1,"]^-":2}',
                '{"\\":2}',
            ],
        ),
        # The converter calls the rule of a property "" like that of its object.
        (
            {"properties": {"": {"const": 1}, "a": {"const": 2}}, "required": ["", "a"]},
            ['{"": 1, "a": 2}'],
            ["1", "{}", '{"a": 2}'],
        ),
        # Characters, not bytes or escapes, are counted.
        (
            {"type": "string", "minLength": 2, "maxLength": 2},
            ['"éé"', '"日本"', '"\\n\\""', '"\\u00e9x"', '"🙂🙂"'],
            ['"é"', '"\\ud83d\\ude42"', '"\n\n"', '"🙂"', '"\t\t"', '"abc"', '"\\ud800a"'],
        ),
        (
            {"type": "string", "pattern": "^.[^a]$"},
            ['"ab"', '"日é"'],
            ['"aa"', '"""b"', '"\\b"', '"a""', '"a\\"', '"a\n"'],
        ),
        ({"type": "number"}, ["-0.5", "1e-9", "12E+99", "0"], [".5", "1.", "01", "1e999", "+1"]),
        # Narrower than the schema: as many items as there are schemas for.
        ({"prefixItems": [{"const": 1}, {}]}, ["[1,2]", "[1, []]"], ["[1]", "[1,2,3]", "[]"]),
        ({"type": "array", "maxItems": 1998}, [f"[{','.join(['1'] * 1998)}]"], []),
        # What the engine cannot count to is left out.
        ({"type": "array", "maxItems": 2000}, [f"[{','.join(['1'] * 2002)}]"], []),
        ({"type": "string", "maxLength": 2000}, [f'"{"a" * 2000}"'], [f'"{"a" * 2001}"']),
    ],
)
def test_which_texts_a_grammar_derives(
    reader: Reader, schema: dict[str, Any], texts: list[str], others: list[str]
) -> None:
    grammar = LlamaGrammar.from_json_schema(schema)
    assert [text for text in texts if not reader.derives(grammar, text)] == []
    assert [text for text in others if reader.derives(grammar, text)] == []
