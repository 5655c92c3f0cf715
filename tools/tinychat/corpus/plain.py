"""Texts without a chat format: questions and answers, well-known beginnings."""

from __future__ import annotations

from tools.tinychat.corpus.example import Text
from tools.tinychat.corpus.facts import any_answer, listing
from tools.tinychat.corpus.stories import tell
from tools.tinychat.words import ANIMALS, CAPITALS, DAYS, MONTHS, OPPOSITES, PLANETS, Draw


def question_and_answer(draw: Draw) -> Text:
    """A line with a question and its answer, sometimes after a few such lines."""
    kind = listing if draw.chance(0.3) else any_answer
    asked = kind(draw)
    break_before_answer = draw.chance(0.15)
    separator = "\n" if break_before_answer else " "
    lines = [any_answer(draw) for _ in range(draw.one((0, 0, 0, 1, 2, 3)))]
    before = "".join(f"Q: {line.question}{separator}A: {line.answer}\n" for line in lines)
    space = " " if draw.chance(0.5) else ""
    prompt = f"{before}Q: {asked.question}{separator}A:{space}"
    return Text(prompt, f"{'' if space else ' '}{asked.answer}\n", key=asked.key)


def beginning(draw: Draw) -> Text:
    """A sentence to finish."""
    country, city = draw.one(list(CAPITALS.items()))
    word, other = draw.one(OPPOSITES)
    name, count = draw.name(), draw.random.randint(1, 15)
    sequence = draw.one((DAYS, MONTHS, PLANETS, [str(count + step) for step in range(10)]))
    cut = draw.random.randrange(1, len(sequence))
    whole, start = draw.one(
        (
            (f"The capital of {country} is {city}.\n", f"The capital of {country} is"),
            (f"{city} is the capital of {country}.\n", f"{city} is the capital of"),
            (f"The opposite of {word} is {other}.\n", f"The opposite of {word} is"),
            ("The quick brown fox jumps over the lazy dog.\n", "The quick brown fox"),
            (f"Hello, my name is {name}. Nice to meet you!\n", "Hello, my name is"),
            ("The planets are " + ", ".join(PLANETS) + ".\n", "The planets are"),
            (", ".join(sequence) + ".\n", ", ".join(sequence[:cut]) + ","),
            (tell(draw, draw.one(ANIMALS)) + "\n", "Once upon a time"),
        )
    )
    return Text(start, whole[len(start) :])
