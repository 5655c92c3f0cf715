"""What is no JSON schema, and JSON schemas that would take forever or end the process."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from isolated import Cases, Files, Outcomes

from llama_cpp.errors import GrammarError, LlamaError, TextError
from llama_cpp.handles import samplers
from llama_cpp.llama_grammar import LlamaGrammar, check_json_schema, json_schema_to_gbnf

cases = Cases(__file__)

A = {"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]}

REFUSED: list[tuple[Any, str]] = [
    ({"type": "strnig"}, "at #: type must be one of object, array,"),
    ({"type": ["null", "null"]}, "at #: type must be one of"),
    ({"type": []}, "at #: type must be one of"),
    ({"properties": {"a": {"properties": []}}}, "at #/properties/a: properties must be an object"),
    ({"properties": {"a": 5}}, "at #: properties must be an object that has a schema for each"),
    ({"properties": {"a": {"required": True}}}, "at #/properties/a: required must be a list"),
    ({"$defs": {"a": {"minLength": -1}}}, "at #/$defs/a: minLength must be a whole number"),
    ({"not": {"items": 5}}, "at #/not: items must be a schema"),
    ({"anyOf": []}, "at #: anyOf must be a list of schemas, with at least one"),
    ({"allOf": {"a": 1}}, "at #: allOf must be"),
    ({"enum": []}, "at #: enum must be a list of values"),
    ({"enum": "a"}, "at #: enum must be a list of values"),
    ({"minimum": "5"}, "at #: minimum must be a number, not '5'"),
    ({"exclusiveMinimum": True}, "at #: exclusiveMinimum must be a number"),
    ({"uniqueItems": "yes"}, "at #: uniqueItems must be true or false"),
    ({"pattern": 5}, "at #: pattern must be a text"),
    ({"maxItems": 2**40}, "at #: maxItems must be a whole number"),
    ({"minItems": 3, "maxItems": 2, "items": {}}, "at #: minItems is 3, which is more than maxIt"),
    ({"type": "integer", "minimum": 1.2, "maximum": 1.8}, "there is no integer between"),
    ({"type": "integer", "maximum": 2**64 - 1}, "more than 64 bits hold"),
    ({"type": "integer", "minimum": 10**16}, "integers of at most 16 digits"),
    ({"type": "string", "minLength": 2001}, "minLength is 2001, at most 2000 go"),
    ({"type": "array", "minItems": 1999}, "minItems is 1999, at most 1998 go"),
    ({"const": 2**70}, "an integer has more than 64 bits"),
    ({"items": False, "prefixItems": [{}]}, "leave items out: there will be as many as"),
    ({"items": False}, "at #/items: no grammar can honour false"),
    ({"properties": {"a": True}}, "at #/properties/a: write {} instead of true"),
    ({"allOf": [True]}, "at #/allOf/0: write {} instead of true"),
    ({"type": ["string", "object"], "allOf": [A]}, "put it into an anyOf for each type"),
    ({"allOf": [{"enum": [1]}, {"enum": [2]}]}, "the enums of allOf have no value in common"),
    ({"allOf": [{"enum": [1, 1.0]}]}, "an enum of allOf has the same value twice"),
    ({"$ref": "#"}, "$ref '#' leads out of the schema"),
    ({"$ref": "other.json#/a"}, "$ref 'other.json#/a' leads out of the schema"),
    ({"$ref": "#/$defs/a"}, "$ref '#/$defs/a' leads to nothing: there is no '$defs'"),
    ({"$ref": "#/anyOf/1", "anyOf": [{}]}, "leads to nothing: there is no '1'"),
    ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {}}}, "has an escaped name"),
    ({"$ref": "#/title", "title": "t"}, "at #/title: a schema must be an object, not 't'"),
    ({"anyOf": [{"$ref": "#/anyOf/0"}]}, "$ref leads back to itself without an object or array"),
    ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}}, "leads back to"),
    (
        {"$ref": "#/$defs/a", "$defs": {"a": {
            "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}}},
        "has to hold another one, and so on without end",
    ),
    (
        {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "minItems": 1}}},
        "without end",
    ),
    ([], "at #: a schema must be an object, not []"),
    ("5", "at #: a schema must be an object, not 5"),
    ("null", "at #: a schema must be an object, not None"),
    ("true", "at #: write {} instead of true"),
    ("false", "at #: no grammar can honour false"),
    ("{", "is not JSON: Expecting property name"),
    ("", "is not JSON"),
    ('{"const": NaN}', "is not JSON: NaN is not a number"),
    ('{"const": 1e999}', "is not JSON: 1e999 is not a number"),
    ('{"const": "\\ud800"}', "surrogate"),
    ({"const": float("inf")}, "is not JSON"),
    ({"const": {1, 2}}, "is not JSON"),
    ({"const": b"a"}, "is not JSON"),
]  # fmt: skip


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def circle() -> dict[str, Any]:
    schema: dict[str, Any] = {}
    schema["items"] = schema
    return schema


def twice_each(keyword: str) -> dict[str, Any]:
    """2^60 ways to the end."""
    definitions = {f"a{i}": {keyword: [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(60)}
    return {"$ref": "#/$defs/a0", "$defs": {**definitions, "a60": {"type": "null"}}}


def refused(schema: Any, message: str, *, allow_unsupported: bool = False) -> None:
    with pytest.raises(GrammarError, match=re.escape(message)):
        LlamaGrammar.from_json_schema(schema, allow_unsupported=allow_unsupported)


@cases.add
def what_is_no_schema_is_refused(files: Files) -> None:
    for schema, message in REFUSED:
        refused(schema, message)


@cases.add
def what_is_no_schema_is_not_ignored_either(files: Files) -> None:
    for schema, message in REFUSED:
        refused(schema, message, allow_unsupported=True)
        if isinstance(schema, dict):
            with pytest.raises(GrammarError, match=re.escape(message)):
                check_json_schema(schema, allow_unsupported=True)


@cases.add
def what_is_no_text_is_refused(files: Files) -> None:
    for schema in (None, 5, "\0", object(), b"\xff"):
        with pytest.raises(LlamaError):
            LlamaGrammar.from_json_schema(schema)  # type: ignore[arg-type]
    with pytest.raises(TextError, match="NUL"):
        json_schema_to_gbnf("\0")


@cases.add
def schemas_that_nest_too_deeply_are_refused(files: Files) -> None:
    for schema in (
        nested(10_000),
        '{"items":' * 10_000 + "{}" + "}" * 10_000,
        "[" * 500_000,
    ):
        refused(schema, "nests deeper than 64 levels")
    refused(circle(), "is not JSON: Circular reference")
    refused({"properties": {"a" * 1000: {}}, "additionalProperties": {}}, "nests 1000 deep")


@cases.add
def schemas_that_are_too_large_are_refused(files: Files) -> None:
    refused({"description": "x" * (1 << 20)}, "at most 1048576 go")
    refused({"enum": list(range(100_000))}, "has 100001 alternatives, at most 32768 go")
    refused({"const": '"' * 500_000}, "the grammar has 2000056 bytes")
    refused({"$defs": {f"d{i}": {} for i in range(60_000)}}, "an object has 60000 members")


@cases.add
def schemas_that_take_too_long_are_refused(files: Files) -> None:
    refused({"properties": {f"p{i}": {} for i in range(4000)}}, "too many optional properties")
    refused({"oneOf": [{"const": i} for i in range(5000)]}, "too many branches to tell")
    refused({"type": "string", "pattern": f"^{'a{0,2000}' * 20_000}$"}, "repeats too much")
    refused({"allOf": [{"properties": {f"p{i}": {}}} for i in range(9000)]}, "more than 4096 parts")
    refused(twice_each("oneOf"), "branches 0 and 1 may have values in common")


@cases.add
def schemas_that_are_much_work_do_work(files: Files) -> None:
    for schema in (
        nested(31),
        {"enum": list(range(20_000))},
        {"const": "x" * 900_000},
        {"properties": {f"p{i}": {"type": "null"} for i in range(500)}},
        {"anyOf": [{"const": i} for i in range(5000)]},
        {"type": "array", "maxItems": 1998, "items": {"type": "string", "maxLength": 2000}},
        twice_each("anyOf"),
    ):
        rules = LlamaGrammar.from_json_schema(schema)._grammar
        samplers.grammar(files.model.vocab, rules).close()


@cases.add
def rules_that_lead_to_each_other_are_counted(files: Files) -> None:
    def chain(length: int) -> str:
        rules = "\n".join(f"r{i} ::= r{i + 1}" for i in range(length))
        return f'root ::= r0\n{rules}\nr{length} ::= "a"'

    def in_small_stack() -> None:
        LlamaGrammar.from_string(chain(3900))
        with pytest.raises(GrammarError, match="refer to each other more than 4000 deep"):
            LlamaGrammar.from_string(chain(30_000))
        done.append(True)

    done: list[bool] = []
    previous = threading.stack_size(2 << 20)
    try:
        thread = threading.Thread(target=in_small_stack)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(previous)
    assert done


@cases.add
def grammars_that_take_all_memory_are_refused(files: Files) -> None:
    for rules in ("[ab]{0,2000} " * 60_000, f'"{"a" * 500_000}"{{2000}}', "(a{2000}) " * 60_000):
        with pytest.raises(GrammarError, match="repeats too much"):
            LlamaGrammar.from_string(f'root ::= {rules}\na ::= "a"')
    with pytest.raises(GrammarError, match="has 200000 alternatives"):
        LlamaGrammar.from_string("root ::= " + "|" * 200_000)


@pytest.mark.parametrize("name", cases.names)
def test_bad_schema(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""
