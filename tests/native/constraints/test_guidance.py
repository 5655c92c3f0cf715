"""Constraints that llguidance follows: what is written under them, and how."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from llama_kit import PROMPT, complete, open_llama
from zoo import Zoo

from llama_cpp.constraints import constraint as constraints
from llama_cpp.constraints import guidance
from llama_cpp.errors import GrammarError, InvalidArgumentError
from llama_cpp.llama import Llama

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "score": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "zip": {"type": "string", "pattern": r"^\d{5}$"},
    },
    "required": ["name", "age", "score", "zip"],
    "additionalProperties": False,
}
FREE: dict[str, Any] = {"ignore_eos": False, "max_tokens": 200, "top_k": 0}
HOT: dict[str, Any] = {**FREE, "temperature": 1.5}
CHOICES = ["yes", "yes, but", "no", 'a "quoted" \\ (one)?', "日本\n", "<s>", "<unk></s>"]


def written(answer: Any) -> str:
    [choice] = answer["choices"]
    return str(choice["text"])


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, n_ctx=512, n_parallel=4) as model:
        yield model


@pytest.mark.parametrize("seed", range(5))
def test_json_satisfies_its_schema(llm: Llama, seed: int) -> None:
    text = written(complete(llm, PROMPT, schema=PERSON, seed=seed, **HOT))
    jsonschema.validate(json.loads(text), PERSON)
    assert list(json.loads(text)) == list(PERSON["properties"])


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_regular_expression_matches_the_whole_text(llm: Llama, temperature: float) -> None:
    for seed in range(5):
        options = {**FREE, "temperature": temperature, "seed": seed}
        text = written(complete(llm, PROMPT, regex=r"(a|bc){2,4}-\d\d[^\x00-é]?", **options))
        assert re.fullmatch(r"(a|bc){2,4}-[0-9][0-9][^\x00-é]?", text)


def test_choices_are_all_written(llm: Llama) -> None:
    texts = {written(complete(llm, PROMPT, choices=CHOICES, seed=s, **HOT)) for s in range(90)}
    assert texts == set(CHOICES)


def test_lark(llm: Llama) -> None:
    grammar = 'start: "(" start ")" | /[0-9]{2}/'
    text = written(complete(llm, PROMPT, lark=grammar, **HOT))
    assert re.fullmatch(r"\(*\d\d\)*", text)
    assert text.count("(") == text.count(")")


def test_a_stream_says_the_same(llm: Llama) -> None:
    options = {"schema": PERSON, "seed": 3, **HOT}
    chunks = complete(llm, PROMPT, stream=True, **options)
    text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert text == written(complete(llm, PROMPT, **options))


def test_what_is_forced_is_the_same_with_logprobs(llm: Llama) -> None:
    """Nothing is forced where somebody wants to know how likely each token was."""
    options = {**FREE, "schema": {"const": {"first": 1, "second": [True, None]}}}
    plain = complete(llm, PROMPT, **options)
    measured = complete(llm, PROMPT, logprobs=1, **options)
    assert written(plain) == written(measured) == '{"first": 1, "second": [true, null]}'
    assert (
        len(measured["choices"][0]["logprobs"]["tokens"]) == measured["usage"]["completion_tokens"]
    )


def test_forced_tokens_count(llm: Llama) -> None:
    answer = complete(llm, PROMPT, **{**FREE, "max_tokens": 7}, schema={"const": "x" * 300})
    assert answer["usage"]["completion_tokens"] == 7
    assert answer["choices"][0]["finish_reason"] == "length"


def test_forced_tokens_take_fewer_steps(llm: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    monkeypatch.setattr(llm.engine, "after_step", count)
    answer = complete(llm, PROMPT, **FREE, schema={"const": "a" * 100})
    assert steps < answer["usage"]["completion_tokens"] / 2


def test_texts_beside_each_other_have_constraints_of_their_own(llm: Llama) -> None:
    patterns = [r"a{9}", r"[b-d]{30}", r"\d{1,9}e", r"(fg){5}"]
    texts: dict[str, str] = {}

    def write(pattern: str) -> None:
        texts[pattern] = written(complete(llm, PROMPT, regex=pattern, **HOT))

    threads = [threading.Thread(target=write, args=(each,)) for each in patterns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(re.fullmatch(pattern, texts[pattern]) for pattern in patterns)


def test_a_text_that_ends_early_was_allowed_to(llm: Llama) -> None:
    answer = complete(llm, PROMPT, regex="ab?", **FREE)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert written(answer) in ("a", "ab")


def test_guesses_are_cut_by_the_constraint(zoo: Zoo) -> None:
    options = {"schema": {"const": "abc" * 30}, **FREE, "temperature": 0}
    with open_llama(zoo.llama, n_ctx=512) as plain:
        expected = written(complete(plain, PROMPT, **options))
    with open_llama(zoo.llama, n_ctx=512, draft_model="ngram") as drafting:
        assert written(complete(drafting, PROMPT, **options)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regex": "(?<=a)b"}, "look-"),
        ({"regex": "a("}, "unclosed group"),
        ({"regex": "(a{1000}){1000}"}, "at least 1000000 characters"),
        ({"lark": "start: missing"}, "missing"),
        ({"schema": {"type": "nonsense"}}, "nonsense"),
        ({"schema": "{"}, "."),
    ],
)
def test_what_does_not_compile_is_refused(
    llm: Llama, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(GrammarError, match=message):
        complete(llm, PROMPT, **options)
    assert written(complete(llm, PROMPT, regex="ab", **FREE)) == "ab"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choices": []}, "at least one text"),
        ({"choices": "yes"}, "list of at least one text"),
        ({"choices": ["a", ""]}, "not empty"),
        ({"choices": ["a", 1]}, "not 1"),
        ({"regex": ""}, "not empty"),
        ({"regex": "a", "choices": ["a"]}, "one of regex, choices"),
        ({"lark": 1}, "must be a text"),
    ],
)
def test_bad_arguments(llm: Llama, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        complete(llm, PROMPT, **options)


def test_chats_take_them_too(llm: Llama) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    for options, pattern in (
        ({"regex": r"\d{4}"}, r"\d{4}"),
        ({"choices": ["left", "right"]}, "left|right"),
        ({"response_format": {"type": "json_object", "schema": {"enum": [1, "a"]}}}, '1|"a"'),
    ):
        answer: Any = llm.create_chat_completion(messages, **options, **HOT)
        assert re.fullmatch(pattern, answer["choices"][0]["message"]["content"], re.ASCII)


class TestWithoutLlguidance:
    @pytest.fixture(autouse=True)
    def hidden(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(guidance, "is_installed", lambda: False)
        constraints.is_guided.cache_clear()
        yield
        constraints.is_guided.cache_clear()

    def test_schemas_become_grammars_and_the_log_says_so_once(
        self, llm: Llama, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("WARNING", "llama_cpp")
        schema = {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2}
        for _ in range(2):
            text = written(complete(llm, PROMPT, schema=schema, **HOT))
            jsonschema.validate(json.loads(text), schema)
        assert caplog.text.count("llguidance is not installed") == 1

    def test_choices_become_a_grammar(self, llm: Llama) -> None:
        plain = CHOICES[:5]  # the engine takes names of special tokens for these
        assert written(complete(llm, PROMPT, choices=plain, **HOT)) in plain

    def test_what_needs_it_says_so(self, llm: Llama) -> None:
        with pytest.raises(InvalidArgumentError, match=r"needed for regex: pip install llguidance"):
            complete(llm, PROMPT, regex="a")


def test_a_closed_model_leaves_nothing_behind(zoo: Zoo) -> None:
    for _ in range(3):
        with open_llama(zoo.llama, n_ctx=128) as model:
            assert written(complete(model, PROMPT, regex="ab", **FREE)) == "ab"
