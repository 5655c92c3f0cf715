"""What is measured of which tokens, and what of them is shared, without a model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from engine_kit import a_request, busy_slot, idle_slot
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.engine.scheduler import Chunk, plan
from llama_cpp.engine.slots import Placement, Slot, place
from llama_cpp.errors import InvalidArgumentError
from llama_cpp.generation.measures import chunks

TEXT = list(range(100, 160))


def measuring_slot(prompt: Sequence[int], measured_from: int, n_cached: int = 0) -> Slot:
    request = a_request(prompt, max_tokens=0, prompt_logprobs=True, measured_from=measured_from)
    return Slot(0, tokens=request.tokens, n_cached=n_cached, request=request)


# Chunks


@given(st.integers(3, 40), st.integers(0, 200))
def test_the_second_half_of_each_chunk_is_measured(n_ctx: int, n_more: int) -> None:
    tokens = list(range(n_ctx + n_more))
    parts = chunks(tokens, n_ctx, None, first=-1)
    assert len(parts) == len(tokens) // n_ctx
    for number, (part, start) in enumerate(parts):
        assert part == [-1, *tokens[number * n_ctx + 1 : (number + 1) * n_ctx]]
        assert n_ctx - start == n_ctx - n_ctx // 2 - 1


@given(st.data(), st.integers(3, 40), st.integers(0, 200))
def test_with_a_stride_tokens_are_measured_once(
    data: st.DataObject, n_ctx: int, n_more: int
) -> None:
    stride = data.draw(st.integers(1, n_ctx - 1))
    tokens = list(range(n_ctx + n_more))
    parts = chunks(tokens, n_ctx, stride, first=None)
    measured = [token for part, start in parts for token in part[start:]]
    assert measured == tokens[n_ctx - stride :][: len(measured)]
    assert n_more - stride < len(measured) - stride <= n_more
    assert {len(part) for part, _ in parts} == {n_ctx}


def test_a_text_that_is_shorter_than_a_chunk_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="9 tokens.*n_ctx=10"):
        chunks(list(range(9)), 10, None, first=None)


# Steps


@given(st.integers(2, 60), st.data(), st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_logits_are_computed_where_they_are_wanted(
    n_prompt: int, data: st.DataObject, budget: int, n_outputs: int, checkpoints: bool
) -> None:
    measured_from = data.draw(st.integers(1, n_prompt - 1))
    slot = measuring_slot(range(n_prompt), measured_from)
    rows: list[int] = []
    ends: list[int] = []
    while slot.n_cached < n_prompt:
        [(_, count, outputs)] = plan([slot], budget, n_outputs, checkpoints=checkpoints)
        if outputs:
            assert count <= n_outputs
            rows += range(slot.n_cached, slot.n_cached + count)
        slot.n_cached += count
        ends.append(slot.n_cached)
    # That after the last token, which predicts nothing, may be there or not.
    assert rows[: n_prompt - measured_from] == list(range(measured_from - 1, n_prompt - 1))
    # There it can be taken over by others.
    assert measured_from == 1 or measured_from - 1 in ends


def test_what_comes_before_takes_no_room_for_logits() -> None:
    slot = measuring_slot(range(50), measured_from=40)
    assert plan([slot, Slot(1)], 100, 4) == [Chunk(slot, 39, False)]
    slot.n_cached = 39
    assert plan([slot, Slot(1)], 100, 4) == [Chunk(slot, 3, True)]


# Slots


def test_only_what_is_not_measured_is_taken_over() -> None:
    request = a_request(TEXT, prompt_logprobs=True, measured_from=40)
    slot = idle_slot(0, TEXT)
    assert place([slot], request.reusable) == Placement(slot, slot, 39)
    whole = a_request(TEXT, prompt_logprobs=True)
    assert place([slot], whole.reusable) == Placement(slot, slot, 0)


@pytest.mark.parametrize("n_cached", [0, 10, 20, 38])
def test_who_is_patient_waits_for_the_whole_beginning(n_cached: int) -> None:
    slots = [busy_slot(0, TEXT, n_cached=n_cached), idle_slot(1, [])]
    assert place(slots, TEXT[:40], patient=True) is None
    slots[0].n_cached = 39
    assert place(slots, TEXT[:40], patient=True) == Placement(slots[1], slots[0], 39)


def test_nobody_waits_for_a_first_token() -> None:
    slots = [busy_slot(0, TEXT, n_cached=0), idle_slot(1, [])]
    assert place(slots, [TEXT[0], 5, 6], patient=True) == Placement(slots[1], slots[1], 0)
