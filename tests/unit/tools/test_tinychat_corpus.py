"""The corpus of the bundled model: repeatable, and with nothing of the test in the training."""

from __future__ import annotations

import itertools
import json
from random import Random

import pytest

from tools.tinychat.chat import END_OF_TEXT, END_OF_TURN, prompt, segments
from tools.tinychat.corpus import ABILITIES, N_PARTS, Chat, Text, examples, held_out
from tools.tinychat.words import Draw, is_held_out

BY_VALUE = ("memory", "role", "tool_call", "extraction", "schema")


def values(name: str, key: str) -> list[object]:
    """The names, numbers and texts in a key."""
    if name in {"memory", "role"}:
        return [key]
    content = json.loads(key)
    return list(content.get("arguments", content).values())


def test_same_seed_same_documents() -> None:
    first, again, other = (list(examples(200, seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_every_ability_has_documents() -> None:
    names = {name for part in range(N_PARTS) for name, _ in examples(1500, 1, part)}
    assert names == set(ABILITIES)


@pytest.mark.parametrize("name", ABILITIES)
def test_the_prompt_is_what_the_document_begins_with(name: str) -> None:
    for example in itertools.islice(held_out(name, 50, 5), 50):
        parts = segments(example)
        given, learned = parts[-2], parts[-1]
        assert (given[1], learned[1]) == (False, True)
        assert "".join(text for text, _ in parts[:-1]) == prompt(example)
        assert learned[0].endswith((END_OF_TURN, END_OF_TEXT))
        if isinstance(example, Text):
            assert example.key in example.reply


@pytest.mark.parametrize("name", BY_VALUE)
def test_training_never_sees_a_held_out_value(name: str) -> None:
    draw = Draw(Random(11))
    for _ in range(300):
        key = ABILITIES[name].generate(draw).key
        for value in values(name, key):
            # Units and the like are words of the language, not values to copy.
            if isinstance(value, int) or str(value)[0].isupper():
                assert not is_held_out(value), key


@pytest.mark.parametrize("name", ["memory", "role"])
def test_testing_uses_held_out_values_only(name: str) -> None:
    assert all(is_held_out(example.key) for example in held_out(name, 100, 12))


def test_questions_of_the_test_are_not_in_training() -> None:
    asked = {
        str(example.messages[-2]["content"])
        for example in held_out("facts", 300, 13)
        if isinstance(example, Chat)
    }
    trained = {
        str(message["content"])
        for _, example in examples(5000, 14)
        if isinstance(example, Chat) and not example.tools
        for message in example.messages
        if message["role"] == "user"
    }
    assert len(asked) > 100
    assert not asked & trained


def test_thoughts_are_learned_only_where_they_are_asked_for() -> None:
    for name, example in (*examples(2000, 15), *examples(1000, 15, 2)):
        learned = "".join(text for text, learn in segments(example) if learn)
        assert ("</think>" in learned) == (isinstance(example, Chat) and example.thinking), name
