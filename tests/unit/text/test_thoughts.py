"""Thoughts are found and counted however a reply is cut into tokens."""

from __future__ import annotations

import random

import pytest

from llama_cpp.text import ThoughtFinder, ThoughtTags

TAGS = ThoughtTags("<think>", ["</think>"])
CHANNELS = ThoughtTags(
    "<|channel|>analysis<|message|>", ["<|end|>"], "<|start|>assistant", "<|start|>assistant"
)


def outside(finder: ThoughtFinder, tokens: list[str]) -> str:
    return "".join(finder.add(token.encode()) for token in tokens)


def test_tokens_between_the_tags_are_counted() -> None:
    finder = ThoughtFinder(TAGS)
    assert outside(finder, ["<think>", "\n", "Hm", ".", "</think>", "Yes"]) == (
        "<think></think>Yes"
    )
    assert finder.n_tokens == 3
    assert not finder.is_open


def test_tags_in_several_tokens_are_not_counted_and_half_ones_are() -> None:
    finder = ThoughtFinder(TAGS)
    outside(finder, ["<th", "ink>", "a", "</", "b", " </th"])
    assert finder.is_open
    assert (finder.n_tokens, finder.held) == (4, "</th")
    assert outside(finder, ["ink", ">c"]) == "</think>c"
    assert finder.n_tokens == 4  # the blank before the tag is a part of the fourth


def test_the_prompt_may_have_begun_or_ended_the_thought() -> None:
    begun = ThoughtFinder(ThoughtTags("<think>", ["\n</think>", "</think>"], "<a>\n<think>\n"))
    assert begun.is_open
    assert outside(begun, ["</think>", "x"]) == "\n</think>x"
    assert begun.n_tokens == 0
    assert not ThoughtFinder(ThoughtTags("<think>", ["</think>"], "<think>\n\n</think>")).is_open
    assert not ThoughtFinder(ThoughtTags("<think>", ["</think>"], "</think>")).is_open


def test_a_thought_begins_at_the_beginning_or_after_another_one_only() -> None:
    finder = ThoughtFinder(TAGS)
    outside(finder, ["Use ", "<think>", "here"])
    assert (finder.is_open, finder.n_tokens) == (False, 0)
    twice = ThoughtFinder(TAGS)
    outside(twice, ["\n<think>", "a", "</think>", "\n", "<think>", "b", "c"])
    assert (twice.is_open, twice.n_tokens) == (True, 3)


def test_a_reply_of_several_messages_may_think_in_each() -> None:
    finder = ThoughtFinder(CHANNELS)
    thought = ["<|channel|>", "analysis", "<|message|>", "a", "<|end|>", "<|start|>", "assistant"]
    outside(finder, [*thought, *thought[:4]])
    assert (finder.is_open, finder.n_tokens) == (True, 2)
    final = ThoughtFinder(CHANNELS)
    outside(final, [*thought, "<|channel|>", "final", "<|message|>", "b"])
    assert (final.is_open, final.n_tokens) == (False, 1)


def test_a_character_in_two_tokens_is_whole_with_the_second() -> None:
    finder = ThoughtFinder(ThoughtTags("<think>", ["</think>"], "<think>"))
    first, second = "ü".encode()[:1], "ü".encode()[1:]
    assert [(finder.add(each), finder.is_whole) for each in (first, second)] == [
        ("", False), ("", True),
    ]  # fmt: skip
    assert finder.n_tokens == 2


@pytest.mark.parametrize("seed", range(30))
def test_the_cut_changes_nothing_but_the_count(seed: int) -> None:
    rng = random.Random(seed)
    text = "<think>a < b</thin</think>\n<think></think>c <think>d</think>"
    tokens: list[str] = []
    rest = text
    while rest:
        size = rng.randint(1, 6)
        tokens.append(rest[:size])
        rest = rest[size:]
    finder = ThoughtFinder(TAGS)
    assert outside(finder, tokens) == "<think></think>\n<think></think>c <think>d</think>"
    assert not finder.is_open
    assert 1 <= finder.n_tokens <= len("a < b</thin")
