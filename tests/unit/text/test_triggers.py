"""What sets off a grammar is found however the text is cut into pieces."""

from __future__ import annotations

import random
import re

import pytest

from llama_cpp.text import TriggerFinder, Triggers

WORDS = ("<tool_call>", "<tool_calls>", "[TOOL]")
PATTERN = r"<\|start\|>assistant(\s+to)"


def fed(triggers: Triggers, pieces: list[str]) -> str | None:
    finder = TriggerFinder(triggers)
    for piece in pieces:
        if (begun := finder.feed(piece)) is not None:
            return begun
    return None


def cut(text: str, seed: int) -> list[str]:
    rng, pieces = random.Random(seed), []
    while text:
        size = rng.randint(1, 5)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("text", ["Hm. <tool_call>\n{", "<<tool_calls>[", "a [TOO [TOOL] b"])
def test_a_word_is_found_where_it_begins(text: str, seed: int) -> None:
    begun = fed(Triggers(WORDS), cut(text, seed))
    found = re.search("|".join(map(re.escape, WORDS)), text)
    assert found is not None
    assert begun is not None
    assert text[found.start() :].startswith(begun)
    assert begun.startswith(found[0])


@pytest.mark.parametrize("seed", range(20))
def test_a_pattern_begins_with_its_first_group(seed: int) -> None:
    text = "Hm.<|end|><|start|>assistant to=functions.f"
    begun = fed(Triggers(patterns=[PATTERN]), cut(text, seed))
    assert begun is not None
    assert begun.startswith(" to")


def test_an_anchored_pattern_matches_the_beginning_only() -> None:
    triggers = Triggers(patterns=[r"^\s+to$"])
    assert fed(triggers, [" ", "to"]) == " to"
    assert fed(triggers, ["I", " ", "to"]) is None
    assert fed(triggers, [*("word " * 1000), *" to"]) is None


def test_patterns_are_found_at_the_end_of_a_long_text() -> None:
    pieces = [*("many words " * 500), *"<|start|>assistant to"]
    assert fed(Triggers(patterns=[PATTERN]), pieces) == " to"


def test_nothing_sets_off_nothing() -> None:
    assert fed(Triggers(WORDS), ["<tool_", "cal", "l"]) is None
    assert fed(Triggers(), ["any", "thing"]) is None
