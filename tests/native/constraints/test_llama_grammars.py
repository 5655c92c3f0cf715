"""Grammars and hooks of ``Llama``: what a text has to look like, and who has a say in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_kit import PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import GrammarError, InvalidArgumentError
from llama_cpp.llama import (
    Llama,
    LogitsProcessorList,
    MinTokensLogitsProcessor,
    StoppingCriteriaList,
)
from llama_cpp.llama_grammar import LlamaGrammar

ARITHMETIC = """
# Sums in brackets
root  ::= "(" sum ")"
sum   ::= digit ([-+] digit){1,3}
digit ::= [0-9]
"""
MATCHES = {
    'root ::= "yes" | "no"': "yes|no",
    "root ::= [a-f]{3} [0-9]?": "[a-f]{3}[0-9]?",
    'root ::= "é" ("ß" | "日本") "\\n"': "é(ß|日本)\n",
    ARITHMETIC: r"\([0-9]([-+][0-9]){1,3}\)",
    "root ::= [!-/:-@]{5} [\\U00003042-\\U00003044]": r"[!-/:-@]{5}[\u3042-\u3044]",
}
# Which token ends the text is the grammar's business here.
FREE: dict[str, Any] = {"ignore_eos": False, "max_tokens": 150}


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, n_ctx=512) as model:
        yield model


@pytest.mark.parametrize("rules", MATCHES)
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_the_text_is_what_the_grammar_derives(llm: Llama, rules: str, temperature: float) -> None:
    for seed in range(5):
        options = {"temperature": temperature, "seed": seed, "top_k": 0, **FREE}
        answer = complete(llm, PROMPT, grammar=rules, **options)
        [choice] = answer["choices"]
        assert choice["finish_reason"] == "stop"
        assert re.fullmatch(MATCHES[rules], choice["text"]), choice["text"]
        chunks = complete(llm, PROMPT, grammar=rules, stream=True, **options)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == choice["text"]


def test_a_grammar_comes_as_rules_as_an_object_or_from_a_file(llm: Llama, tmp_path: Path) -> None:
    file = tmp_path / "arithmetic.gbnf"
    file.write_text(ARITHMETIC)
    texts = {
        text_of(llm, PROMPT, grammar=grammar, **FREE)
        for grammar in (
            ARITHMETIC,
            LlamaGrammar.from_string(ARITHMETIC),
            LlamaGrammar.from_file(file),
            LlamaGrammar.from_file(str(file), verbose=False),
        )
    }
    assert len(texts) == 1


def test_one_grammar_serves_any_number_of_texts(llm: Llama) -> None:
    grammar = LlamaGrammar.from_string(ARITHMETIC)
    answer: Any = llm([PROMPT, PROMPT[:9]], n=3, grammar=grammar, temperature=1.5, max_tokens=50)
    texts = [choice["text"] for choice in answer["choices"]]
    assert all(re.fullmatch(MATCHES[ARITHMETIC], text) for text in texts)
    assert len(set(texts)) > 1


def test_a_schema_gives_json_that_it_allows(llm: Llama) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
        },
        "required": ["name", "age", "tags"],
        "additionalProperties": False,
    }
    grammar = LlamaGrammar.from_json_schema(json.dumps(schema))
    for seed in range(3):
        text = text_of(llm, PROMPT, grammar=grammar, temperature=1.0, seed=seed, **FREE)
        value = json.loads(text)
        assert list(value) == ["name", "age", "tags"]
        assert len(value["name"]) <= 8
        assert 0 <= value["age"] <= 150
        assert len(value["tags"]) <= 2 and set(value["tags"]) <= {"a", "b"}


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        ("root ::= foo", "line 1, column 10: Undefined rule identifier 'foo'"),
        ("root ::= [a", "line 1, column 12: unexpected end of input"),
        ('root ::= "a"\nroot2 = "b"', "line 2, column 7: expecting ::="),
        ('root ::= "a"\n  | %', "line 2, column 3"),
        ('root ::= "a" {2', "line 1, column 16: expecting ','"),
        ('root ::= "a', "line 1, column 12: unexpected end of input"),
        ('start ::= "a"\nb ::= "b"', "no such root rule: 'root'; the rules are: start, b"),
        ("# nothing", "no such root rule: 'root'; the rules are: none"),
        ('root ::= root "a" | "b"', "line 1, column 1: the rule root begins with itself"),
        ('x ::= "a"\nroot ::= x y\n y ::= z?\nz ::= x? y', "line 3, column 2: the rule y begins"),
        ("root ::= a | b\na ::= a\nb ::= b", "rules begin with themselves"),
        ("", "the grammar is empty: give at least a rule `root ::= ...`"),
    ],
)
def test_what_does_not_parse_is_told_with_its_place(
    llm: Llama, tmp_path: Path, rules: str, place: str
) -> None:
    expected = text_of(llm, PROMPT)
    with pytest.raises(GrammarError, match=re.escape(place)):
        LlamaGrammar.from_string(rules)
    for stream in (False, True):
        with pytest.raises(GrammarError, match=re.escape(place)):
            list(complete(llm, PROMPT, grammar=rules, stream=stream))
    assert text_of(llm, PROMPT) == expected
    if rules:
        file = tmp_path / "rules.gbnf"
        file.write_text(rules)
        with pytest.raises(GrammarError, match=re.escape(place)):
            LlamaGrammar.from_file(file)


def test_names_of_tokens_are_looked_up_in_the_model(llm: Llama) -> None:
    rules = 'root ::= <no such token>* !<|im_end|> "<x" [<y>] "\\"" # <z'
    grammar = LlamaGrammar.from_string(rules)
    assert grammar._grammar == rules
    with pytest.raises(GrammarError, match="line 1, column 10: invalid token '<no such token>'"):
        complete(llm, PROMPT, grammar=grammar)
    known = LlamaGrammar.from_string('root ::= "a" <|im_start|> "b"')
    assert text_of(llm, PROMPT, grammar=known, **FREE) == "ab"
    for rules, place in (
        ("root ::= <a> <[5]", "line 1, column 18: expecting '>'"),
        ("root ::= <a", "line 1, column 10: expecting '>' after the name of a token"),
        ("root ::= <a> (", "line 1, column 15: expecting ')'"),
    ):
        with pytest.raises(GrammarError, match=re.escape(place)):
            LlamaGrammar.from_string(rules)


def test_a_grammar_is_not_made_by_calling_its_class() -> None:
    with pytest.raises(InvalidArgumentError, match="made by LlamaGrammar.from_string"):
        LlamaGrammar('root ::= "a"')


def test_files_that_hold_no_grammar_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rules.gbnf"
    with pytest.raises(FileNotFoundError, match=re.escape("rules.gbnf")):
        LlamaGrammar.from_file(file)
    file.write_text("\n")
    with pytest.raises(GrammarError, match="rules.gbnf is empty"):
        LlamaGrammar.from_file(file)
    file.write_bytes(b'root ::= "\xff"')
    with pytest.raises(GrammarError, match="rules.gbnf is not UTF-8"):
        LlamaGrammar.from_file(file)


@pytest.mark.parametrize("stream", [False, True])
def test_a_grammar_that_refuses_every_token_says_so(llm: Llama, stream: bool) -> None:
    expected = text_of(llm, PROMPT)
    with pytest.raises(GrammarError, match="the grammar allows no token here"):
        rules = 'root ::= "a" "\\x00" more\nmore ::= "x" more'
        list(complete(llm, PROMPT, grammar=rules, stream=stream))
    assert text_of(llm, PROMPT) == expected


def test_grammar_bias_penalties_and_processors_work_together(llm: Llama) -> None:
    def no_sevens(_: Any, scores: Any) -> None:
        scores[[token for token in range(len(scores)) if b"7" in llm.detokenize([token])]] = -np.inf

    fives = [token for token in range(llm.n_vocab()) if b"5" in llm.detokenize([token])]
    answer = complete(
        llm, PROMPT, grammar="root ::= [5-7]{20}", logits_processor=[no_sevens],
        logit_bias=dict.fromkeys(fives, float("-inf")), **FREE,
    )  # fmt: skip
    assert answer["choices"][0]["text"] == "6" * 20


# Hooks.


def test_processors_of_a_list_run_one_after_another(llm: Llama) -> None:
    def only(token: int) -> Any:
        def process(_: Any, scores: Any) -> Any:
            assert scores.dtype == np.float32
            changed = np.full_like(scores, -1e9)
            changed[token] = scores[token] + 1 if scores[token] > -1e8 else 1.0
            return changed

        return process

    for hooks in ([only(400), only(410)], LogitsProcessorList([only(400), only(410)])):
        text = text_of(llm, PROMPT, max_tokens=3, logits_processor=hooks)
        assert text == llm.detokenize([410] * 3).decode()


def test_scores_of_double_precision_are_taken_too(llm: Llama) -> None:
    def doubled(_: Any, scores: Any) -> Any:
        return scores.astype(np.float64) * 2

    assert text_of(llm, PROMPT, logits_processor=[doubled]) == text_of(llm, PROMPT)


def test_any_criterion_of_a_list_stops(llm: Llama) -> None:
    def after(count: int) -> Any:
        return lambda ids, logits: len(ids) >= len(PROMPT) + count and logits.shape == (684,)

    for hooks in ([after(7), after(3)], StoppingCriteriaList([after(3), after(7)])):
        answer = complete(llm, PROMPT, stopping_criteria=hooks)
        assert answer["usage"]["completion_tokens"] == 3
        assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_text_can_be_given_a_least_length(llm: Llama) -> None:
    ends = {"logit_bias": {llm.token_eos(): 50.0}, "ignore_eos": False, "max_tokens": 20}
    assert complete(llm, PROMPT, **ends)["usage"]["completion_tokens"] == 0
    processor = MinTokensLogitsProcessor(5, llm.token_eos())
    answer = complete(llm, PROMPT, logits_processor=[processor], **ends)
    assert answer["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (lambda ids, scores: scores[:5], r"returned shape \(5,\); it must return .* \(684,\)"),
        (lambda ids, scores: scores[None], r"returned shape \(1, 684\)"),
        (lambda ids, scores: scores * np.nan, "left NaN in the scores: use -inf to forbid"),
        (lambda ids, scores: scores.__setitem__(7, np.nan), "left NaN in the scores"),
    ],
)
def test_scores_that_no_token_can_be_chosen_from_are_refused(
    llm: Llama, processor: Any, message: str
) -> None:
    expected = text_of(llm, PROMPT)
    for temperature in (0, 1.0):
        with pytest.raises(InvalidArgumentError, match=message):
            complete(llm, PROMPT, logits_processor=[processor], temperature=temperature)
    assert text_of(llm, PROMPT) == expected
