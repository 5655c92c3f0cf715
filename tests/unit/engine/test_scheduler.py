"""What a step computes: nobody is left out, nothing is too much."""

from __future__ import annotations

from collections import deque

import pytest
from engine_kit import a_request, busy_slot, idle_slot
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.engine.scheduler import Chunk, plan, youngest
from llama_cpp.engine.slots import Slot
from llama_cpp.engine.terms import Terms


@st.composite
def some_slots(draw: st.DrawFn) -> list[Slot]:
    """Idle ones, ones that decode, and ones with a prompt to compute."""
    count = draw(st.integers(1, 6))
    numbers = draw(st.permutations(range(count)))
    slots = []
    for number in range(count):
        kind = draw(st.sampled_from(["idle", "decodes", "decodes", "prompt", "prompt"]))
        length = draw(st.integers(1, 30))
        if kind == "idle":
            slots.append(idle_slot(number, range(length)))
            continue
        pending = 1 if kind == "decodes" else draw(st.integers(2, 31))
        generated = draw(st.integers(0, 2))
        slot = busy_slot(
            number, range(length + pending), n_cached=length + generated, generated=generated
        )
        assert slot.request is not None
        slot.request.number = numbers[number]
        slot.request.prompt_logprobs = draw(st.booleans())
        if kind == "decodes":
            slot.drafts = draw(st.lists(st.integers(0, 9), max_size=6))
        slots.append(slot)
    return slots


def pending(slot: Slot) -> int:
    return len(slot.tokens) - slot.n_cached


def running(slots: list[Slot]) -> list[Slot]:
    return [slot for slot in slots if slot.request is not None]


def rows(chunk: Chunk) -> int:
    """How many rows of logits a chunk asks for."""
    if chunk.outputs:
        return chunk.n_tokens
    return int(chunk.n_tokens >= pending(chunk.slot))


@given(some_slots(), st.integers(1, 40), st.integers(0, 20), st.booleans())
def test_a_batch_has_room_for_its_tokens_and_their_logits(
    slots: list[Slot], budget: int, spare: int, checkpoints: bool
) -> None:
    n_outputs = len(slots) + spare
    chunks = plan(slots, budget, n_outputs, checkpoints=checkpoints)
    assert sum(chunk.n_tokens for chunk in chunks) <= budget
    assert sum(rows(chunk) for chunk in chunks) <= n_outputs
    assert len({chunk.slot.id for chunk in chunks}) == len(chunks)
    assert all(chunk.slot.request is not None for chunk in chunks)
    assert all(chunk.n_tokens >= 1 for chunk in chunks)


@given(some_slots(), st.integers(1, 40), st.integers(0, 20))
def test_a_chunk_is_what_its_slot_has_to_compute(
    slots: list[Slot], budget: int, spare: int
) -> None:
    drafts = {slot.id: slot.drafts[:] for slot in slots}
    for slot, count, outputs in plan(slots, budget, len(slots) + spare):
        request = slot.request
        assert request is not None
        if pending(slot) == 1:
            assert slot.drafts == drafts[slot.id][: count - 1]
            assert count == 1 + len(slot.drafts)
            assert outputs == (count > 1)
        else:
            assert count <= pending(slot)
            first_is_measured = slot.n_cached + 1 < request.n_prompt
            assert outputs == (request.prompt_logprobs and first_is_measured)


@given(some_slots(), st.integers(1, 40), st.integers(0, 20), st.booleans())
def test_whoever_decodes_comes_before_prompts(
    slots: list[Slot], budget: int, spare: int, checkpoints: bool
) -> None:
    chunks = plan(slots, budget, len(slots) + spare, checkpoints=checkpoints)
    decoding = [chunk for chunk in chunks if pending(chunk.slot) == 1]
    assert chunks[: len(decoding)] == decoding
    if len(decoding) < len(chunks):
        assert [chunk.slot for chunk in decoding] == [s for s in running(slots) if pending(s) == 1]


@given(some_slots(), st.integers(0, 34), st.integers(0, 20), st.booleans())
def test_with_a_fair_share_of_drafts_nobody_is_left_out(
    slots: list[Slot], more_budget: int, spare: int, checkpoints: bool
) -> None:
    budget, n_outputs = len(slots) + more_budget, len(slots) + spare
    share = min(budget, n_outputs) // len(slots) - 1
    for slot in slots:
        del slot.drafts[share:]
    drafts = {slot.id: slot.drafts[:] for slot in slots}
    chunks = plan(slots, budget, n_outputs, checkpoints=checkpoints)
    served = {chunk.slot.id: chunk for chunk in chunks}
    for slot in running(slots):
        if pending(slot) == 1:
            assert served[slot.id].n_tokens == 1 + len(drafts[slot.id])
    prompts = [slot for slot in running(slots) if pending(slot) > 1]
    if prompts:
        assert min(prompts, key=lambda slot: number(slot)).id in served


def number(slot: Slot) -> int:
    assert slot.request is not None
    return slot.request.number


@given(some_slots(), st.integers(1, 40), st.integers(0, 20), st.booleans())
def test_prompts_are_computed_in_the_order_they_came(
    slots: list[Slot], budget: int, spare: int, checkpoints: bool
) -> None:
    chunks = plan(slots, budget, len(slots) + spare, checkpoints=checkpoints)
    waiting = sorted((s for s in running(slots) if pending(s) > 1), key=number)
    served = [chunk for chunk in chunks if pending(chunk.slot) > 1]
    assert [chunk.slot for chunk in served] == waiting[: len(served)]
    for chunk in served[:-1]:
        # Only the last one is cut for want of room, unless it is for want of logits.
        assert chunk.outputs or chunk.n_tokens == pending(chunk.slot) - checkpoints


@given(some_slots(), st.integers(1, 40), st.integers(0, 20))
def test_no_room_stays_empty_while_somebody_waits(
    slots: list[Slot], budget: int, spare: int
) -> None:
    chunks = plan(slots, budget, len(slots) + spare)
    if sum(chunk.n_tokens for chunk in chunks) < budget:
        assert {chunk.slot.id for chunk in chunks} == {slot.id for slot in running(slots)}
        for chunk in chunks:
            assert chunk.outputs or chunk.n_tokens == pending(chunk.slot)


@given(some_slots(), st.integers(1, 40))
def test_a_plan_is_empty_only_if_nothing_is_left_to_do(slots: list[Slot], budget: int) -> None:
    assert bool(plan(slots, budget, len(slots))) == bool(running(slots))


@given(some_slots(), st.integers(1, 40), st.integers(0, 20))
def test_a_prompt_stops_before_its_last_token_for_a_checkpoint(
    slots: list[Slot], budget: int, spare: int
) -> None:
    waiting = {slot.id for slot in running(slots) if pending(slot) > 1}
    for slot, count, _ in plan(slots, budget, len(slots) + spare, checkpoints=True):
        assert slot.id not in waiting or count < pending(slot)


@given(some_slots())
def test_the_youngest_is_who_came_last(slots: list[Slot]) -> None:
    chunks = plan(slots, 100, len(slots))
    if chunks:
        assert number(youngest(chunks)) == max(number(chunk.slot) for chunk in chunks)


# Many steps.


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[int, int, bool]]:
    """Requests: length of the prompt, tokens to generate, whether the prompt is measured."""
    request = st.tuples(st.integers(1, 40), st.integers(1, 12), st.booleans())
    return draw(st.lists(request, min_size=1, max_size=8))


class Steps:
    """The engine without a model: each draft is right as often as ``accepts`` says so."""

    def __init__(self, n_slots: int, budget: int, n_outputs: int, checkpoints: bool) -> None:
        self.slots = [Slot(each) for each in range(n_slots)]
        self.budget, self.n_outputs = budget, n_outputs
        self.checkpoints = checkpoints

    def run(self, requests: list[tuple[int, int, bool]], accepts: list[int]) -> int:
        """Return how many steps it takes until every request has its tokens."""
        waiting = deque(
            a_request(range(n_prompt), number=each, max_tokens=n_max, prompt_logprobs=measures)
            for each, (n_prompt, n_max, measures) in enumerate(requests)
        )
        count = 0
        while waiting or running(self.slots):
            for slot in self.slots:
                if slot.request is None and waiting:
                    slot.request = waiting.popleft()
                    slot.tokens, slot.n_cached = slot.request.tokens, 0
            self.step(accepts[count % len(accepts)])
            count += 1
        return count

    def step(self, accepted: int) -> None:
        share = min(self.budget, self.n_outputs) // len(self.slots) - 1
        decoding = [slot for slot in running(self.slots) if pending(slot) == 1]
        for slot in decoding:
            slot.drafts = [0] * share
        chunks = plan(self.slots, self.budget, self.n_outputs, checkpoints=self.checkpoints)
        assert all(any(chunk.slot is slot for chunk in chunks) for slot in decoding)
        assert chunks
        for slot, n_tokens, _ in chunks:
            request = slot.request
            assert request is not None
            slot.n_cached += n_tokens - len(slot.drafts)
            if slot.n_cached == len(slot.tokens):
                n_right = min(accepted, len(slot.drafts))
                request.tokens += [0] * (n_right + 1)
                slot.n_cached += n_right
                request.n_generated += n_right + 1
            slot.drafts = []
            if request.n_generated >= request.max_tokens:
                slot.request = None


@given(
    arrivals(), st.integers(1, 4), st.integers(0, 12), st.integers(0, 12), st.booleans(),
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
)  # fmt: skip
def test_every_request_ends(
    requests: list[tuple[int, int, bool]],
    n_slots: int,
    more_budget: int,
    spare: int,
    checkpoints: bool,
    accepts: list[int],
) -> None:
    steps = Steps(n_slots, n_slots + more_budget, n_slots + spare, checkpoints)
    count = steps.run(requests, accepts)
    # The oldest prompt gets a token in each step, at worst.
    assert count <= sum(n_prompt + n_max for n_prompt, n_max, _ in requests)


def test_a_prompt_takes_what_decoding_leaves() -> None:
    slots = [
        busy_slot(0, range(10), n_cached=9),
        busy_slot(1, range(50), n_cached=0),
        busy_slot(2, range(10), n_cached=9),
    ]
    assert plan(slots, 16, 16) == [
        Chunk(slots[0], 1, False),
        Chunk(slots[2], 1, False),
        Chunk(slots[1], 14, False),
    ]


@pytest.mark.parametrize(("budget", "n_outputs", "kept"), [(9, 9, 4), (3, 9, 2), (9, 2, 1)])
def test_drafts_are_cut_to_the_room_there_is(budget: int, n_outputs: int, kept: int) -> None:
    slot = busy_slot(0, range(10), n_cached=9)
    slot.drafts = [1, 2, 3, 4]
    assert plan([slot], budget, n_outputs) == [Chunk(slot, 1 + kept, True)]
    assert slot.drafts == [1, 2, 3, 4][:kept]


def test_a_measured_prompt_is_cut_to_the_logits_there_are() -> None:
    slot = busy_slot(0, range(50), n_cached=0)
    assert slot.request is not None
    slot.request.prompt_logprobs = True
    assert plan([slot, Slot(1)], 40, 10) == [Chunk(slot, 9, True)]


def test_the_most_important_prompt_comes_first_and_the_least_important_makes_room() -> None:
    slots = [busy_slot(number, range(20), n_cached=0) for number in range(3)]
    for slot, priority in zip(slots, (0, 5, -1), strict=True):
        assert slot.request is not None
        slot.request.terms = Terms(priority)
    chunks = plan(slots, 50, 8)
    assert [(chunk.slot.id, chunk.n_tokens) for chunk in chunks] == [(1, 20), (0, 20), (2, 10)]
    assert youngest(chunks) is slots[2]
