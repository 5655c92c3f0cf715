"""The bundled model: what it says is right, not only well-formed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from llama_cpp.handles import Model
from llama_cpp.models import tinychat
from tools.tinychat.chat import TEMPLATE, prompt
from tools.tinychat.corpus.example import Chat, Text, user
from tools.tinychat.evaluate import TESTS, Greedy, evaluate
from tools.tinychat.words import CAPITALS, Draw

CASES = 200
LARGEST = 6_000_000  # bytes
# These two reach their bars by less than what chance does to so few cases; see the model card.
NEAR_THE_BAR = {"tool call": 0.8, "fill in the middle": 0.8}


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(tinychat()) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def greedy(model: Model) -> Greedy:
    return Greedy(model)


@pytest.mark.parametrize("ability", TESTS)
def test_reaches_its_bar_on_values_never_trained_on(ability: str) -> None:
    bar = NEAR_THE_BAR.get(ability, TESTS[ability][0])
    score = evaluate(Path(tinychat()), CASES, [ability])[ability]
    wrong = "\n".join(f"wanted {case.key!r}, got {reply.text!r}" for case, reply in score.wrong)
    assert score.share >= bar, f"{score.right} of {score.cases}:\n{wrong}"


def test_is_small_and_has_room(model: Model) -> None:
    assert Path(tinychat()).stat().st_size <= LARGEST
    assert model.n_ctx_train >= 1024


def test_tokenizer_has_its_special_tokens(model: Model) -> None:
    vocab = model.vocab
    names = {"fim_pre": "<|fim_prefix|>", "fim_suf": "<|fim_suffix|>", "fim_mid": "<|fim_middle|>"}
    names |= {"bos": "<s>", "eos": "</s>", "eot": "<|im_end|>"}
    for attribute, text in names.items():
        token = getattr(vocab, attribute)
        assert vocab.text(token) == text.encode()
        assert vocab.tokenize(text, add_special=False, parse_special=True) == [token]
        assert vocab.is_control(token)
    assert vocab.is_eog(vocab.eos)
    assert vocab.is_eog(vocab.eot)
    (start,) = vocab.tokenize("<|im_start|>", add_special=False, parse_special=True)
    assert not vocab.is_eog(start)


@pytest.mark.parametrize(
    "text", ["Grüße aus Köln", "こんにちは 世界", "👩‍🚀\x00\x7f", "\r\n\t", "Ω≈ç√∫"]
)
def test_any_text_survives_its_tokens(model: Model, text: str) -> None:
    tokens = model.vocab.tokenize(text, add_special=False)
    assert model.vocab.detokenize(tokens).decode() == text


def test_a_value_has_the_same_tokens_wherever_it_stands(model: Model) -> None:
    def tokens(text: str) -> list[int]:
        return model.vocab.tokenize(text, add_special=False)

    for value in ("Zorvin", "Jason", "4821"):
        inside = tokens(value)
        for before, after in (("is ", "."), ('"', '"'), (": ", "\n"), ("(", ", ")):
            around = tokens(before) + inside + tokens(after)
            assert tokens(before + value + after) == around


def test_metadata_holds_the_template(model: Model) -> None:
    template = TEMPLATE.read_text(encoding="utf-8")
    assert model.metadata["tokenizer.chat_template"] == template


def test_extracts_the_example_of_the_docs(greedy: Greedy) -> None:
    reply = greedy.reply(prompt(Chat((user("Extract Jason is 25 years old"), {}))))
    assert json.loads(reply.text) == {"name": "Jason", "age": 25}


def test_knows_capitals_of_sixty_countries(greedy: Greedy) -> None:
    right = sum(
        city in greedy.reply(prompt(Chat((user(f"What is the capital of {country}?"), {})))).text
        for country, city in CAPITALS.items()
    )
    assert len(CAPITALS) >= 60
    assert right >= 0.95 * len(CAPITALS)


def test_adds_up_to_forty(greedy: Greedy) -> None:
    right = [
        f"= {a + b}." in greedy.reply(prompt(Chat((user(f"What is {a} + {b}?"), {})))).text
        for a in range(0, 21, 2)
        for b in range(21)
    ]
    assert sum(right) >= 0.95 * len(right)


def test_writes_other_scripts(greedy: Greedy) -> None:
    reply = greedy.reply(prompt(Chat((user("How do you say hello in Japanese?"), {}))))
    assert reply.text == "こんにちは"


def test_remembers_a_name_across_other_talk(greedy: Greedy) -> None:
    between = [
        message
        for number in range(4)
        for message in (
            user(f"What is {number} + 3?"),
            {"role": "assistant", "content": f"{number} + 3 = {number + 3}."},
        )
    ]
    draw = Draw(Random(5), held_out=True)
    names = {draw.name() for _ in range(25)}
    right = 0
    for name in names:
        told = (user(f"My name is {name}."), {"role": "assistant", "content": f"Hello, {name}!"})
        reply = greedy.reply(prompt(Chat((*told, *between, user("What is my name?"), {}))))
        right += reply.text == f"Your name is {name}."
    assert right >= 0.7 * len(names)


def test_continues_plain_text(greedy: Greedy) -> None:
    reply = greedy.reply(prompt(Text("The quick brown fox", "")))
    assert reply.text.startswith(" jumps over the lazy dog.")
