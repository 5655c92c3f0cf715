"""Random JSON schemas: each is refused for a reason, or all that is written satisfies it."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from grammar_kit import written
from jsonschema import Draft202012Validator
from llama_kit import open_llama
from zoo import Zoo

from llama_cpp.errors import GrammarError
from llama_cpp.llama import Llama
from llama_cpp.llama_grammar import LlamaGrammar

# More of them, for a search that takes longer.
COUNT = int(os.environ.get("SCHEMAS", "250"))

VALUES = [1, -3, 0, 1.5, "a", "ab", True, None, [], [1], {"a": 1}, 'é"\\']
NAMES = ["a", "ab", "a_b", "a-b", "*", "decimal_part", "x y", "é", "a]", "^", "date", "ref", 'q"']
PATTERNS = [
    "^a+$", "^[a-c]{2,4}$", "^(foo|bar)(-[0-9]+)?$", "^a\\.b$", "^.{1,3}$", "^[^a]b?$", "^\\d+$",
    "^a*?$", "^é+$", "^(é)+$", "^x\\.*$", "^a|b$", "abc", "^(?:ab){2}c$", "^[ -~]$", "^a{0}b$",
    "^$", '^"$', "^a\\\\$", "^\n$",
]  # fmt: skip
TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"]
DEFINITIONS = ["n", "n_a", "n-a"]


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, n_ctx=1024) as model:
        yield model


class Schemas:
    """Makes schemas of keywords that often, but not always, fit together."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def document(self) -> dict[str, Any]:
        return {**self._schema(3), "$defs": {name: self._schema(2) for name in DEFINITIONS}}

    def _some(self, keywords: dict[str, Any], likely: float) -> dict[str, Any]:
        return {k: v for k, v in keywords.items() if self._chance.random() < likely}

    def _schema(self, depth: int) -> dict[str, Any]:
        kinds = [self._leaf] * 4
        if depth > 0:
            kinds += [
                self._object,
                self._object,
                self._array,
                self._array,
                self._union,
                self._mixed,
            ]
        return self._chance.choice(kinds)(depth - 1)

    def _number(self) -> float:
        chance = self._chance
        numbers: list[float] = [
            chance.randint(-1200, 1200), chance.randint(-12, 12), chance.uniform(-20, 20),
            10 ** chance.randint(0, 6), -(10 ** chance.randint(0, 6)),
        ]  # fmt: skip
        return chance.choice(numbers)

    def _leaf(self, depth: int) -> dict[str, Any]:
        chance = self._chance
        bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        return chance.choice(
            [
                {},
                {"const": chance.choice(VALUES)},
                {"enum": chance.sample(VALUES, chance.randint(1, 3))},
                {"type": chance.choice(TYPES)},
                {"$ref": f"#/$defs/{chance.choice(DEFINITIONS)}"},
                {"type": "integer", **self._some({name: self._number() for name in bounds}, 0.3)},
                {"type": "number", **self._some({name: self._number() for name in bounds}, 0.05)},
                {"type": "string", **self._some(self._of_strings(), 0.25)},
            ]
        )

    def _of_strings(self) -> dict[str, Any]:
        return {
            "minLength": self._chance.randint(0, 3), "maxLength": self._chance.randint(3, 5),
            "pattern": self._chance.choice(PATTERNS),
            "format": self._chance.choice(["uuid", "time", "email"]),
        }  # fmt: skip

    def _object(self, depth: int) -> dict[str, Any]:
        chance = self._chance
        names = chance.sample(NAMES, chance.randint(0, 4))
        required = [name for name in names if chance.random() < 0.5]
        additional = chance.choice([True, False, {}, self._schema(depth)])
        return {
            **self._some({"type": "object"}, 0.8),
            **self._some({"properties": {name: self._schema(depth) for name in names}}, 0.9),
            **self._some({"required": required, "additionalProperties": additional}, 0.6),
            **self._some({"minProperties": 1, "maxProperties": 3, "propertyNames": {}}, 0.05),
        }

    def _array(self, depth: int) -> dict[str, Any]:
        chance = self._chance
        few, more = chance.randint(0, 2), chance.randint(2, 4)
        return {
            **self._some({"type": "array"}, 0.8),
            **chance.choice([{"items": self._schema(depth)}, {"prefixItems": [{}, {"const": 1}]}]),
            **self._some({"minItems": few, "maxItems": more}, 0.4),
            **self._some({"uniqueItems": True, "unevaluatedItems": False}, 0.05),
        }

    def _union(self, depth: int) -> dict[str, Any]:
        parts = [self._schema(depth) for _ in range(self._chance.randint(1, 3))]
        return {self._chance.choice(["anyOf", "anyOf", "oneOf", "allOf"]): parts}

    def _mixed(self, depth: int) -> dict[str, Any]:
        """A list of types, or keywords that have nothing to do with each other."""
        types = self._chance.sample(TYPES, self._chance.randint(1, 3))
        others = (self._leaf(depth), self._object(depth), self._array(depth), self._union(depth))
        keywords = {name: value for each in others for name, value in each.items()}
        return {**self._some({"type": types}, 0.7), **self._some(keywords, 0.2)}


def test_random_schemas_are_refused_or_satisfied(llm: Llama) -> None:
    schemas, refused, honoured = Schemas(1), 0, 0
    while refused + honoured < COUNT:
        schema = schemas.document()
        try:
            grammar = LlamaGrammar.from_json_schema(schema, allow_unsupported=False)
        except GrammarError as error:
            # By the check, and not by the engine.
            assert "the JSON schema at #" in str(error), schema
            refused += 1
            continue
        honoured += 1
        Draft202012Validator.check_schema(schema)
        for text in written(llm, grammar, 3):
            assert Draft202012Validator(schema).is_valid(json.loads(text)), (text, schema)
    assert refused > COUNT / 10
    assert honoured > COUNT / 3


def test_random_schemas_give_json_if_anything_is_ignored(llm: Llama) -> None:
    schemas = Schemas(2)
    for _ in range(COUNT):
        schema = schemas.document()
        try:
            grammar = LlamaGrammar.from_json_schema(schema, allow_unsupported=True)
        except GrammarError as error:
            assert "the JSON schema at #" in str(error), schema
            continue
        for text in written(llm, grammar, 1):
            json.loads(text)
