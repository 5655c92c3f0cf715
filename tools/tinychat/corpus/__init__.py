"""The training corpus: every ability, its generator and its share of the documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from tools.tinychat.corpus import code, copying, extraction, facts, memory, plain, stories
from tools.tinychat.corpus import tools as calling
from tools.tinychat.corpus.conversation import conversation
from tools.tinychat.corpus.example import Chat, Example, Text
from tools.tinychat.words import Draw

__all__ = ["ABILITIES", "N_PARTS", "Ability", "Chat", "Example", "Text", "examples"]


@dataclass(frozen=True)
class Ability:
    """A kind of example, and its share of the documents in the parts of the corpus.

    The first part teaches to copy with many short documents; each later one has more of what was
    not learned well by then.
    """

    generate: Callable[[Draw], Example]
    shares: tuple[float, float, float, float, float, float]


ABILITIES: Mapping[str, Ability] = {
    "facts": Ability(facts.chat, (14, 14, 10, 9, 12, 10)),
    "thinking": Ability(facts.thinking, (7, 7, 6, 8, 12, 14)),
    "memory": Ability(memory.remember, (12, 14, 12, 9, 7, 7)),
    "role": Ability(memory.role, (3, 2, 1, 1, 1, 1)),
    "repeat": Ability(memory.repeat, (12, 4, 3, 2, 1, 1)),
    "tool_call": Ability(calling.call_tool, (15, 10, 10, 13, 20, 24)),
    "tool_thinking": Ability(calling.think_and_call, (3, 2, 1, 1, 1, 1)),
    "several_calls": Ability(calling.call_several, (2, 1.5, 1, 1, 1, 1)),
    "no_tool": Ability(calling.do_without, (5, 4, 3, 3, 5, 5)),
    "tool_result": Ability(calling.answer_from_result, (6, 3, 2, 3, 3, 3)),
    "extraction": Ability(extraction.extract, (9, 9, 7, 9, 7, 5)),
    "schema": Ability(extraction.answer_by_schema, (2, 2, 1, 1.5, 1, 1)),
    "fill_in": Ability(code.fill_in, (7, 22, 20, 20, 24, 28)),
    "function": Ability(code.write_function, (1, 1, 1, 1, 1, 1)),
    "story": Ability(stories.ask_for_story, (3, 3, 1.5, 1.5, 3, 5)),
    "question": Ability(plain.question_and_answer, (4, 4, 3, 3, 3, 3)),
    "beginning": Ability(plain.beginning, (1, 1, 1, 1, 1, 1)),
    "conversation": Ability(conversation, (1.2, 0.8, 0.4, 0.4, 0.4, 0.3)),
    "sums": Ability(facts.sums, (0, 4, 12, 10, 8, 10)),
    "renamed_tools": Ability(calling.call_renamed, (0, 0, 10, 5, 2, 3)),
    "renamed_arguments": Ability(calling.call_with_renamed_arguments, (0, 0, 0, 10, 5, 3)),
    "recite": Ability(copying.recite, (0, 0, 0, 7, 2, 1)),
    "directory": Ability(copying.directory, (0, 0, 0, 7, 2, 1)),
    "tool_conversation": Ability(calling.conversation, (0, 8, 3, 2.5, 2, 2)),
}

# For each part of the corpus: its column of `shares`, and how much of its words is blended.
_COLUMNS = (0, 1, 2, 2, 3, 4, 5, 5, 5)
_BLENDED = (0.0, 0.0, 0.0, 0.0, 0.3, 0.1, 0.0, 0.0, 0.0)
N_PARTS = len(_COLUMNS)


def examples(count: int, seed: int, part: int = 0) -> Iterator[tuple[str, Example]]:
    """Training examples of all abilities in their shares, with the ability's name."""
    draw = Draw(Random(seed), blended=_BLENDED[part])
    shares = {name: ability.shares[_COLUMNS[part]] for name, ability in ABILITIES.items()}
    names, weights = zip(*((name, share) for name, share in shares.items() if share), strict=True)
    for _ in range(count):
        (name,) = draw.random.choices(names, weights)
        yield name, ABILITIES[name].generate(draw)


def held_out(name: str, count: int, seed: int) -> list[Example]:
    """Examples of one ability with values that training has never seen."""
    draw = Draw(Random(seed), held_out=True)
    return [ABILITIES[name].generate(draw) for _ in range(count)]
