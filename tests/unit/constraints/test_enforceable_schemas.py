"""What of a JSON schema is enforced byte by byte, and what is named as the rest."""

from __future__ import annotations

import importlib
import json
import logging
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import TypeAdapter
from schema_kit import documents

from llama_cpp.constraints.constraint import json_schema
from llama_cpp.constraints.json_schema.enforceable import enforceable
from llama_cpp.errors import GrammarError
from tools.schema_conformance.readers import matcher_reader
from tools.schema_conformance.replies import reply

CODES = {"properties": {"c": {"enum": ["US", "DE"]}, "zip": {}}, "type": "object"}
UNIONS = [
    {"type": "object", "properties": {"k": {"const": name}}, "required": ["k"]} for name in "ab"
]
# A schema, texts that it allows, and others.
ENFORCED: list[tuple[dict[str, Any], list[str], list[str]]] = [
    (CODES, ['{"c": "US"}', '{"c": "DE", "zip": 1}', "{}"], ['{"zip": 1, "c": ""}', '{"c":"US"}']),
    ({"type": "integer", "multipleOf": 5}, ["10", "0", "-5"], ["7", "5.5"]),
    ({"type": "number", "minimum": 0.5, "exclusiveMaximum": 2}, ["0.5", "1.9"], ["0.4", "2"]),
    ({"type": "string", "pattern": r"^\d{5}$"}, ['"01234"'], ['"0123"', '"01234x"']),
    ({"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}, ['"1.5"'], ['"."', '"x"']),
    ({"type": "string", "pattern": r"^(?=.*\d)\w{3,}$"}, ['"abc1"'], ['"abcd"', '"a1"']),
    ({"not": {"type": "string"}}, ["1", "null", "{}"], ['"a"']),
    ({"not": {"enum": ["ab", 3, None]}}, ['"abc"', '""', "2.5", "[]"], ['"ab"', "3.0", "null"]),
    ({"not": {"required": ["a"]}}, ['{"b": 1}'], ['{"a": 1}']),
    (
        {**CODES, "if": {"properties": {"c": {"const": "US"}}, "required": ["c"]},
         "then": {"required": ["zip"]}},
        ['{"c": "DE"}', '{"c": "US", "zip": 1}', "{}"], ['{"c": "US"}'],
    ),
    ({"type": "array", "contains": {"const": 1}}, ["[2, 1]", "[1]"], ["[]", "[2]"]),
    ({"contains": {"const": 1}, "maxContains": 1}, ["[1, 2]", "[2, 1]", "5"], ["[1, 1]", "[2]"]),
    (
        {"type": "array", "uniqueItems": True, "items": {"enum": [1, 2, 3]}},
        ["[]", "[3, 1]", "[2, 1, 3]"], ["[1, 1]", "[1, 2, 1]"],
    ),
    (
        {"type": "array", "uniqueItems": True, "items": {"enum": [1, "a"], "type": "integer"}},
        ["[]", "[1]"], ["[1, 1]", '["a"]'],
    ),
    ({"dependentRequired": {"a": ["b"]}}, ['{"a": 1, "b": 2}', "{}"], ['{"a": 1}']),
    ({"propertyNames": {"enum": [None]}}, ["{}"], ['{"": 1}']),
    ({"propertyNames": {"maxLength": 2}, "properties": {"abc": {}}}, ['{"ab": 1}'], ['{"abc": 1}']),
    (
        {"patternProperties": {"^a": {"type": "integer"}, "b$": {"minimum": 3}}},
        ['{"ab": 4}', '{"c": ""}'], ['{"ab": 1}', '{"a": ""}'],
    ),
    (
        {"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1,
         "additionalProperties": False},
        ['{"b": 1}', '{"a": 1, "b": 1}'], ["{}"],
    ),
    ({"properties": {"a": {}, "b": {}}, "maxProperties": 1}, ['{"b": 1}'], ['{"a": 1, "b": 1}']),
    ({"oneOf": UNIONS}, ['{"k": "a"}', '{"k": "b"}'], ['{"k": "c"}', "{}"]),
    ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, ["1", '"a"'], ["3"]),
    (
        {"type": "object", "properties": {"a": {}, "b": {}},
         "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        ['{"a": 1}', '{"b": 1}'], ['{"a": 1, "b": 1}', "{}"],
    ),
    (
        {"unevaluatedProperties": False, "anyOf": [{"properties": {"a": {"const": 1}}},
                                                   {"properties": {"b": {}}}]},
        ['{"a": 1}', '{"b": 2}'], ['{"c": 1}', '{"a": 2}'],
    ),
    # A name that is written with escapes is no other name.
    ({"properties": {"a": {"type": "integer"}}}, ['{"b": "x"}'], ['{"\\u0061": "x"}']),
    (
        {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/a",
         "type": "string", "definitions": {"a": {"items": [{"type": "integer"}]}}},
        ["[1]", "5"], ['["a"]'],
    ),
    (
        {"$ref": "#/$defs/tree", "$defs": {"tree": {
            "type": "object", "properties": {"next": {"$ref": "#/$defs/tree"}},
            "additionalProperties": False}}},
        ["{}", '{"next": {"next": {}}}'], ['{"next": 1}', '{"x": 1}'],
    ),
    ({"properties": {f"p{i}": {} for i in range(500)}}, ["{}", '{"p499": 1}'], []),
    (
        {"type": "string", "format": "date"},
        ['"2024-02-29"', '"2000-02-29"', '"1999-12-31"'],
        ['"2023-02-29"', '"1900-02-29"', '"0000-01-01"', '"2024-04-31"'],
    ),
    (
        {"type": "string", "format": "ipv6"},
        ['"::1"', '"1::2:3"', '"::ffff:1.2.3.4"', '"1:2:3:4:5:6:7:8"'],
        ['"1::2::3"', '"1:2:3"', '"::ffff:1.2.3.256"', '"1:2:3:4:5:6:7:8:9"'],
    ),
    ({"type": "string", "format": "int64"}, ['"x"'], []),
    ({"type": "string", "pattern": r"^\p{Lu}$"}, ['"É"'], ['"é"']),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "texts", "others"), ENFORCED)
def test_which_texts_are_allowed(
    schema: dict[str, Any], texts: list[str], others: list[str]
) -> None:
    found = enforceable(schema)
    accepts = matcher_reader(found.grammar)
    assert dict(found.unenforced) == {}
    assert [text for text in texts if not accepts(text)] == []
    assert [text for text in others if accepts(text)] == []
    for text in texts:
        found.check(json.loads(text))


# A schema, the way to what is not enforced of it, and an instance that only the check refuses.
REST: list[tuple[dict[str, Any], str, Any]] = [
    ({"type": "array", "uniqueItems": True}, "#/uniqueItems", [1, 1]),
    ({"properties": {"a": {"not": {"pattern": "x"}}}}, "#/properties/a/not", {"a": "x"}),
    ({"multipleOf": 1_234_567}, "#/multipleOf", 5),
    ({"minimum": 1e20}, "#/minimum", 5),
    ({"const": 2**60}, "#/const", 5),
    ({"const": "\0"}, "#/const", "a"),
    ({"pattern": r"a\b"}, "#/pattern", "ab"),
    ({"propertyNames": {"not": {"const": "a"}}}, "#/propertyNames", {"a": 1}),
    (
        {"propertyNames": {"$ref": "#/$defs/d", "pattern": "b"}, "$defs": {"d": {"minLength": 2}}},
        "#/propertyNames", {"aa": 1},
    ),
    (
        {"uniqueItems": True, "items": {"type": "boolean", "allOf": [{"const": True}]}},
        "#/uniqueItems", [True, True],
    ),
    (
        {"uniqueItems": True, "items": {"$ref": "#/$defs/d", "minimum": 3},
         "$defs": {"d": {"enum": [1, 3, 4]}}},
        "#/uniqueItems", [3, 3],
    ),
    ({"minProperties": 3, "properties": {"a": {}}}, "#/minProperties", {"a": 1, "b": 1}),
    ({"not": {"maxProperties": 1}}, "#/not", {"a": 1}),
    ({"propertyNames": {"pattern": "^(?!a)"}}, "#/propertyNames", {"a": 1}),
    ({"patternProperties": {"^(?!b)": False}}, "#/patternProperties", {"a": 1}),
    (
        {"type": "object", "properties": {"n": {"$ref": "#", "minProperties": 1}}},
        "#/properties/n/minProperties", {"n": {}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "way", "instance"), REST)
def test_what_is_not_enforced_is_named_and_can_be_checked(
    schema: dict[str, Any], way: str, instance: Any
) -> None:
    found = enforceable(json.dumps(schema))
    assert [*found.unenforced] == [way]
    assert way in found.rest
    # Control characters are never written, and names only twice.
    accepts = matcher_reader(found.grammar)
    assert accepts(json.dumps(instance)) or way in ("#/const", "#/minProperties")
    with pytest.raises(GrammarError, match="does not fit its schema at"):
        found.check(instance)


ENDLESS = {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}}
REFUSED: list[tuple[Any, str]] = [
    ({"x": "y" * 11_000_000}, "at most 1048576 go"),
    ("{", "is not JSON"),
    ({"type": "strnig"}, "type must be one of"),
    ({"dependencies": {"a": 5}}, "dependencies must be"),
    (False, "allows no value"),
    ({"type": "string", "enum": [1]}, "allows no value"),
    ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "allows no value"),
    ({"$ref": "#"}, "allows no value that ends"),
    ({"$ref": "#/$defs/a", "$defs": ENDLESS}, "allows no value that ends"),
    ({"$ref": "#/nowhere"}, r"\$ref '#/nowhere' leads nowhere"),
    ({"items": {"pattern": "(?<=a)b"}}, "at #/items: pattern .* look-behind"),
    ({"pattern": r"(a)\1"}, "backreferences are not supported"),
    ({"pattern": "[a"}, "unclosed character class"),
    ({"patternProperties": {"[a": {}}}, "patternProperties cannot be used"),
    (
        {"allOf": [{"anyOf": [{"const": i} for i in range(50)]}] * 4},
        "too complex",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "message"), REFUSED)
def test_what_cannot_be_enforced_at_all_is_refused(schema: Any, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        enforceable(schema)


def test_schemas_that_refer_to_their_parts_again_and_again_come_to_an_end() -> None:
    parts = {f"a{i}": {"oneOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(12)}
    with pytest.raises(GrammarError):
        enforceable({"$ref": "#/$defs/a0", "$defs": {**parts, "a12": {"type": "null"}}})
    circle = {"oneOf": [{"not": {"$ref": "#/$defs/d"}}, {"type": "integer"}]}
    assert enforceable({"$ref": "#/$defs/d", "$defs": {"d": circle}}).unenforced
    seen = {"unevaluatedProperties": False, "oneOf": [{"$ref": "#"}, {"type": "null"}]}
    assert enforceable({"$ref": "#/$defs/d", "$defs": {"d": seen}, "minimum": 1}).unenforced


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents())
def test_random_replies_satisfy_random_schemas(schema: dict[str, Any]) -> None:
    try:
        found = enforceable(schema)
    except GrammarError:
        return
    if not found.unenforced:
        texts = [reply(found.grammar, Random(seed), 300) for seed in range(3)]
        for text in filter(None, texts):
            try:
                found.check(json.loads(text))
            except GrammarError as error:
                # jsonschema follows a schema that asks for itself until there is no stack left.
                assert "cannot be checked" in str(error), (text, error)


def test_what_is_not_enforced_is_an_error_only_where_it_is_strict(
    caplog: pytest.LogCaptureFixture,
) -> None:
    schema = {"properties": {"a": {"type": "array", "uniqueItems": True}}}
    with caplog.at_level(logging.WARNING, "llama_cpp"):
        json_schema(schema)
    assert "enforced but for #/properties/a/uniqueItems: a grammar" in caplog.text
    with pytest.raises(GrammarError, match="#/properties/a/uniqueItems"):
        json_schema(schema, strict=True)
    assert json_schema({"pattern": r"^\d$"}, strict=True)


# The bodies of requests, and the tools, of two public APIs.
PUBLIC = {
    "openai.types.chat.completion_create_params": ["CompletionCreateParamsNonStreaming"],
    "openai.types.chat.chat_completion_function_tool_param": ["ChatCompletionFunctionToolParam"],
    "openai.types.chat.chat_completion_message_param": ["ChatCompletionAssistantMessageParam"],
    "openai.types.responses.response_create_params": ["ResponseCreateParamsNonStreaming"],
    "openai.types.responses.file_search_tool_param": ["FileSearchToolParam"],
    "openai.types.responses.web_search_tool_param": ["WebSearchToolParam"],
    "openai.types.responses.computer_tool_param": ["ComputerToolParam"],
    "openai.types.responses.function_tool_param": ["FunctionToolParam"],
    "openai.types.embedding_create_params": ["EmbeddingCreateParams"],
    "openai.types.image_generate_params": ["ImageGenerateParamsNonStreaming"],
    "openai.types.moderation_create_params": ["ModerationCreateParams"],
    "openai.types.batch_create_params": ["BatchCreateParams"],
    "openai.types.upload_create_params": ["UploadCreateParams"],
    "openai.types.vector_store_create_params": ["VectorStoreCreateParams"],
    "openai.types.fine_tuning.job_create_params": ["JobCreateParams"],
    "anthropic.types.message_create_params": ["MessageCreateParamsNonStreaming"],
    "anthropic.types.tool_param": ["ToolParam"],
    "anthropic.types.tool_bash_20250124_param": ["ToolBash20250124Param"],
    "anthropic.types.tool_text_editor_20250124_param": ["ToolTextEditor20250124Param"],
    "anthropic.types.web_search_tool_20250305_param": ["WebSearchTool20250305Param"],
}
NAMES = [(module, name) for module, names in PUBLIC.items() for name in names]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_schemas_of_public_apis_are_enforced_as_a_whole(module: str, name: str) -> None:
    body = getattr(importlib.import_module(module), name)
    found = enforceable(TypeAdapter(body).json_schema())
    assert dict(found.unenforced) == {}
    texts = [reply(found.grammar, Random(seed), 2000) for seed in range(3)]
    assert any(texts)
    for text in filter(None, texts):
        found.check(json.loads(text))
