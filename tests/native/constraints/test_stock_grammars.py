"""Grammars that come along, and the converter of JSON schemas under its older name."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clang.cindex import TranslationUnit
from grammar_kit import Reader, written
from llama_kit import open_llama
from zoo import Zoo

from llama_cpp import llama_grammar
from llama_cpp.errors import GrammarError, InvalidArgumentError
from llama_cpp.handles import Model
from llama_cpp.llama import Llama
from llama_cpp.llama_grammar import (
    PRIMITIVE_RULES,
    RESERVED_NAMES,
    SPACE_RULE,
    STRING_FORMAT_RULES,
    BuiltinRule,
    LlamaGrammar,
    SchemaConverter,
    json_schema_to_gbnf,
)

MOVE = r"((([a-h]x)?[a-h]([2-7]|[18]=[QRBN])|[KQRBN][a-h]?[1-8]?x?[a-h][1-8]|O-O(-O)?)[+#]?)"
GAME = rf"1\. {MOVE} {MOVE}( [1-9]\d*\. {MOVE} {MOVE})*( \d+\. {MOVE})?( (1-0|0-1|1/2-1/2))?"
JAPANESE = r"[\u3041-\u3096\u309d\u309e\u30a1-\u30fc\u4e00-\u9fff\u3005\d「」、。！？]+"  # noqa: RUF001


def is_arithmetic(text: str) -> bool:
    for line in text.removesuffix("\n").split("\n"):
        [compared] = ast.parse(line.replace(" = ", " == "), mode="eval").body.ops  # type: ignore[attr-defined]
        assert isinstance(compared, ast.Eq)
    return True


def is_c(text: str) -> bool:
    """Whether a C compiler has nothing to say but that nothing is declared."""
    arguments = ["-std=c17", "-ferror-limit=0"]
    unit = TranslationUnit.from_source("a.c", arguments, [("a.c", text)])
    return {each.category_name for each in unit.diagnostics} <= {"Semantic Issue"}


def is_list(text: str) -> bool:
    return all(line.startswith("- ") and len(line) > 2 for line in text.splitlines())


CHECKS: dict[str, Callable[[str], Any]] = {
    "ARITHMETIC_GBNF": is_arithmetic,
    "CHESS_GBNF": re.compile(GAME).fullmatch,
    "C_GBNF": is_c,
    "JAPANESE_GBNF": re.compile(JAPANESE).fullmatch,
    "JSON_ARR_GBNF": lambda text: isinstance(json.loads(text), list),
    "JSON_GBNF": lambda text: isinstance(json.loads(text), dict),
    "LIST_GBNF": is_list,
}
READ: dict[str, tuple[list[str], list[str]]] = {
    "ARITHMETIC_GBNF": (["2 * (x1 + 3) = 14\n", "-1.5 = a\nb = -(c)\n"], ["2 = 02\n", "1\n", ""]),
    "CHESS_GBNF": (
        ["1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. O-O exd1=Q+ 5. Qa1xb2# 1-0", "1. d4 Ngf6 2. R1e2"],
        ["1. e9 e5", "1. e4 e8", "1. e4 e1=K", "e4", "1. e4 e5 1-1", "1. e4 e5 2. "],
    ),
    "C_GBNF": (
        ['int main() {\nint i = 0;\nfor (i = 0; i < 9; i = i + 1) {\nput(i);\n}\nreturn 0;\n}\n'],
        ["int main() {}\n", "main() {\n}\n", "int main() {\nreturn 0\n}\n"],
    ),
    "JAPANESE_GBNF": (
        ["こんにちは。", "東京は、2024年の「オリンピック」か？"],  # noqa: RUF001
        ["hello。", "。", "こんにちは"],
    ),
    "JSON_ARR_GBNF": (['[\n1,\n{"a": "\\u00e9"},\nnull\n]', "[\n]"], ["[1]", "[\n1,\n]", "{}"]),
    "JSON_GBNF": (
        ['{}', '{"a": [1, -2.5e3, true], "\\"": {"b": null}}', '{\n  "a": ""}'],
        ["[]", '{"a\n": 1}', '{"a": 01}', '{"a": 1,}', '{"a": "\\ud800"}', '{"a": 1e999}', "{"],
    ),
    "LIST_GBNF": (["- a\n- b - c\n"], ["- \n", "a\n", "- a", "- a\x0bb\n", "- a\u2028b\n"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, n_ctx=1024) as model:
        yield model


@pytest.fixture(scope="module")
def reader(zoo: Zoo) -> Iterator[Reader]:
    with Model(zoo.llama) as model:
        yield Reader(model.vocab)


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_written_is_what_the_grammar_is_called(llm: Llama, name: str) -> None:
    texts = set(written(llm, LlamaGrammar.from_string(getattr(llama_grammar, name))))
    assert len(texts) > 5
    for text in texts:
        assert CHECKS[name](text), text


@pytest.mark.parametrize("name", READ)
def test_what_a_grammar_derives(reader: Reader, name: str) -> None:
    grammar = LlamaGrammar.from_string(getattr(llama_grammar, name))
    texts, others = READ[name]
    assert [text for text in texts if not reader.derives(grammar, text)] == []
    assert [text for text in others if reader.derives(grammar, text)] == []


# The converter.


def test_the_rules_are_the_engines() -> None:
    formats = [{"type": "string", "format": name} for name in ("uuid", "date", "time", "date-time")]
    schemas = [{}, {"type": "integer"}, *formats]
    lines = json_schema_to_gbnf({"anyOf": schemas}).splitlines()
    rules = dict(line.split(" ::= ") for line in lines)
    assert rules.pop("space") == SPACE_RULE
    own = {**PRIMITIVE_RULES, **STRING_FORMAT_RULES}
    assert {name: rules[name] for name in own} == {n: rule.content for n, rule in own.items()}
    for rule in own.values():
        words = set(re.sub(r'"(\\.|[^"])*"|\[(\\.|[^\]])*\]', "", rule.content).split())
        assert {re.sub(r"\W*$", "", word.strip("(")) for word in words} & own.keys() == set(
            rule.deps
        )
    for name in own:
        named = json_schema_to_gbnf({"properties": {name: {"enum": [1]}}})
        assert f"\n{name}- ::= " in f"\n{named}", name
    assert own.keys() < RESERVED_NAMES
    assert BuiltinRule("a").deps == []


def converter(prop_order: Any = ()) -> SchemaConverter:
    return SchemaConverter(
        prop_order=prop_order, allow_fetch=False, dotall=False, raw_pattern=False
    )


def test_a_schema_is_converted_step_by_step(reader: Reader) -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/x"}, "b": {}}, "$defs": {"x": {"const": 1}}}
    for order in (["b"], {"b": 0}, {"a": 1, "b": 0}):
        steps = converter(order)
        assert steps.visit(schema, "") == "root"
        assert steps.format_grammar() == json_schema_to_gbnf(schema, ["b"])
    # Each schema has references of its own.
    two = converter()
    assert two.visit({"$ref": "#/$defs/x", "$defs": {"x": {"const": 1}}}, "one") == "one"
    assert two.visit({"$ref": "#/$defs/x", "$defs": {"x": {"const": 2}}}, "two") == "two"
    assert two.visit({"type": "string"}, "three") == "string"
    grammar = LlamaGrammar.from_string(two.format_grammar() + "root ::= one two")
    assert reader.derives(grammar, "12")
    assert not reader.derives(grammar, "11")
    with pytest.raises(GrammarError, match="no grammar can honour not"):
        two.visit({"not": {}}, "four")
    assert "four" not in two.format_grammar()


def test_references_to_the_schemas_own_address() -> None:
    schema = {"items": [{"$ref": "https://a.example/s#/x"}, {"$ref": "#/y"}], "const": 5}
    resolved = converter().resolve_refs(schema, "https://a.example/s")
    assert resolved == {"items": [{"$ref": "#/x"}, {"$ref": "#/y"}], "const": 5}


def test_what_the_converter_does_not_do_is_refused() -> None:
    for option in ("allow_fetch", "raw_pattern"):
        options = {"allow_fetch": False, "raw_pattern": False, option: True}
        with pytest.raises(InvalidArgumentError, match="allow_fetch and raw_pattern"):
            SchemaConverter(prop_order={}, dotall=True, **options)


def test_texts_that_are_not_a_literal(reader: Reader) -> None:
    rules = f"root ::= {converter().not_literal('a_]')}"
    for text, other in (("b", True), ("a-", True), ("a_x", True), ("a_]", False), ("a", False)):
        assert reader.derives(LlamaGrammar.from_string(rules), text) == other
    rules = f"root ::= {converter().not_literal('a_b', maybe_escaped_underscores=True)}"
    for text, other in (("a\\_c", True), ("a\\_b", False), ("a_b", False), ("a_c", True)):
        assert reader.derives(LlamaGrammar.from_string(rules), text) == other
