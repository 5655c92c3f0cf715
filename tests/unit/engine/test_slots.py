"""Which slot a prompt goes to, and what it takes over from there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from engine_kit import a_request, busy_slot, idle_slot, naive_shared
from hypothesis import example, given
from hypothesis import strategies as st

from llama_cpp.engine.adapter_spans import EVERYTHING
from llama_cpp.engine.slots import Placement, Slot, place, shared_prefix

TEXT = list(range(100))
"""Sequences begin like this one, so that they have long beginnings in common."""

WORTH = 32


@st.composite
def sequences(draw: st.DrawFn) -> list[int]:
    length = draw(st.integers(0, len(TEXT)))
    return TEXT[:length] + draw(st.lists(st.integers(-2, -1), max_size=3))


@st.composite
def some_slots(draw: st.DrawFn) -> list[Slot]:
    slots = []
    for number in range(draw(st.integers(1, 5))):
        tokens = draw(sequences())
        slot = idle_slot(number, tokens, last_used=draw(st.integers(0, 9)))
        if draw(st.booleans()):
            slot.request = a_request(tokens[: draw(st.integers(0, len(tokens)))])
            slot.n_cached = draw(st.integers(0, len(tokens)))
        slot.n_exact = draw(st.sampled_from([EVERYTHING, EVERYTHING, 5, 40]))
        slots.append(slot)
    return slots


def naive_cached(slot: Slot) -> list[int]:
    return [
        token
        for place_of, token in enumerate(slot.tokens)
        if place_of < slot.n_cached and place_of < slot.n_exact
    ]


def most_shared(slots: Sequence[Slot], prompt: Sequence[int]) -> int:
    """The most tokens of the prompt that a slot holds; the last one is always computed."""
    return max(naive_shared(naive_cached(slot), prompt[:-1]) for slot in slots)


def is_coming(slots: Sequence[Slot], prompt: Sequence[int]) -> bool:
    """Whether a slot is computing much more of the prompt than any slot holds."""
    held = most_shared(slots, prompt)
    for slot in slots:
        if slot.request is not None and slot.n_cached < min(
            slot.request.n_prompt, len(slot.tokens)
        ):
            coming = naive_shared(slot.tokens[: slot.request.n_prompt], prompt[:-1])
            if coming > 2 * held + WORTH:
                return True
    return False


# Beginnings in common.


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_a_shared_beginning_is_what_a_loop_counts(
    beginning: list[int], one: list[int], other: list[int]
) -> None:
    a, b = beginning + one, beginning + other
    assert shared_prefix(a, b) == shared_prefix(b, a) == naive_shared(a, b) >= len(beginning)
    assert shared_prefix(tuple(a), tuple(b)) == naive_shared(a, b)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_a_difference_is_found_wherever_it_is(length: int, other: int, at: int) -> None:
    a, b = list(range(length)), list(range(other))
    if at < other:
        b[at] = -1
    assert shared_prefix(a, b) == min(length, other, at)


@given(sequences(), st.integers(0, 100), st.integers(0, 100))
def test_what_counts_as_cached_is_exact(tokens: list[int], n_cached: int, n_exact: int) -> None:
    slot = Slot(0, tokens=tokens, n_cached=min(n_cached, len(tokens)), n_exact=n_exact)
    assert slot.cached == naive_cached(slot)


# Where a prompt goes.


@given(some_slots(), sequences())
def test_a_prompt_waits_for_a_slot_or_for_its_beginning_only(
    slots: list[Slot], prompt: list[int]
) -> None:
    all_busy = all(slot.request is not None for slot in slots)
    assert (place(slots, prompt) is None) == (all_busy or is_coming(slots, prompt))


@given(some_slots(), sequences())
def test_a_prompt_takes_over_the_most_that_any_slot_holds(
    slots: list[Slot], prompt: list[int]
) -> None:
    placement = place(slots, prompt)
    if placement is not None:
        slot, source, n_shared = placement
        assert slot.request is None
        assert n_shared == most_shared(slots, prompt)
        assert naive_cached(source)[:n_shared] == prompt[:n_shared]
        assert n_shared < max(1, len(prompt))


@given(some_slots(), sequences())
def test_a_free_slot_goes_on_unless_it_loses_much(slots: list[Slot], prompt: list[int]) -> None:
    placement = place(slots, prompt)
    if placement is None or placement.n_shared == 0:
        return
    slot, source, n_shared = placement
    holders = [each for each in slots if naive_shared(naive_cached(each), prompt[:-1]) == n_shared]
    free = [each for each in holders if each.request is None]
    assert source in (free or holders)
    if free and slot is not source:
        assert slot.n_cached == 0
        assert n_shared < source.n_cached // 2
    if slot is source and n_shared < source.n_cached // 2:
        assert all(each.n_cached for each in slots if each.request is None)


@given(some_slots(), sequences())
def test_what_is_given_up_was_used_longest_ago(slots: list[Slot], prompt: list[int]) -> None:
    placement = place(slots, prompt)
    if placement is None or (placement.slot is placement.source and placement.n_shared):
        return
    free = [slot for slot in slots if slot.request is None]
    empty = [slot for slot in free if slot.n_cached == 0]
    assert placement.slot.last_used == min(slot.last_used for slot in empty or free)
    assert placement.slot in (empty or free)


@given(some_slots(), sequences())
def test_a_choice_changes_nothing(slots: list[Slot], prompt: list[int]) -> None:
    before = [(slot.tokens[:], slot.n_cached, slot.request, slot.last_used) for slot in slots]
    place(slots, prompt)
    assert before == [(slot.tokens, slot.n_cached, slot.request, slot.last_used) for slot in slots]


@given(some_slots())
@example([Slot(0)])
def test_a_prompt_whose_logprobs_are_wanted_takes_nothing_over(slots: list[Slot]) -> None:
    placement = place(slots, ())
    assert (placement is None) == all(slot.request is not None for slot in slots)
    assert placement is None or (placement.slot is placement.source and not placement.n_shared)


def test_the_last_token_is_computed_in_any_case() -> None:
    slot = idle_slot(0, TEXT)
    assert place([slot], TEXT) == Placement(slot, slot, len(TEXT) - 1)
    assert place([slot], [*TEXT, 5]) == Placement(slot, slot, len(TEXT))
    assert place([slot], [TEXT[0]]) == Placement(slot, slot, 0)


def test_the_empty_slot_comes_before_one_that_holds_something() -> None:
    old, empty = idle_slot(0, TEXT, last_used=1), idle_slot(1, [], last_used=9)
    assert place([old, empty], [-1, -2]) == Placement(empty, empty, 0)


def test_a_busy_slot_lends_its_beginning() -> None:
    busy, free = busy_slot(0, TEXT, n_cached=50), idle_slot(1, [-1])
    assert place([busy, free], TEXT[:40]) == Placement(free, busy, 39)


def test_a_conversation_is_copied_where_another_prompt_begins_like_it() -> None:
    full, empty = idle_slot(0, TEXT), idle_slot(1, [])
    assert place([full, empty], [*TEXT[:10], -1, -2]) == Placement(empty, full, 10)
    assert place([full, empty], [*TEXT[:90], -1, -2]) == Placement(full, full, 90)
    assert place([full], [*TEXT[:10], -1, -2]) == Placement(full, full, 10)


def test_of_two_that_hold_as_much_the_latest_goes_on() -> None:
    slots = [idle_slot(number, TEXT[:20], last_used=used) for number, used in enumerate([3, 8, 5])]
    assert place(slots, TEXT) == Placement(slots[1], slots[1], 20)


@pytest.mark.parametrize(("n_coming", "waits"), [(33, False), (34, True)])
def test_only_a_long_beginning_is_worth_waiting_for(n_coming: int, waits: bool) -> None:
    # The first token is not there yet, and the prompt's own last one is computed anyway.
    slots = [busy_slot(0, TEXT, n_cached=0), idle_slot(1, [])]
    assert (place(slots, TEXT[:n_coming]) is None) == waits


def test_a_beginning_that_is_there_needs_no_waiting() -> None:
    slots = [busy_slot(0, TEXT, n_cached=len(TEXT), generated=5), idle_slot(1, [])]
    assert place(slots, TEXT) == Placement(slots[1], slots[0], len(TEXT) - 1)


def test_after_a_shift_only_what_stood_before_the_hole_is_shared() -> None:
    slot = idle_slot(0, TEXT)
    slot.n_exact = 12
    assert place([slot], TEXT) == Placement(slot, slot, 12)
