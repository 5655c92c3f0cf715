"""Where adapters begin to count, whose turn it is, and what texts with different ones share."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from engine_kit import a_request
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.engine.adapter_spans import (
    EVERYTHING,
    PLAIN,
    Span,
    adapters_at,
    agreement,
    continued,
    end_of,
    spans_of,
)
from llama_cpp.engine.adapters import Adapters
from llama_cpp.engine.scheduler import plan
from llama_cpp.engine.slots import Slot, place


class Adapter:
    """An adapter as the engine sees it."""

    def __init__(self, *invocation: int) -> None:
        self.invocation_tokens = list(invocation)


ALWAYS: Any = Adapter()
INVOKED: Any = Adapter(7, 8)
SPANS = st.lists(
    st.tuples(st.integers(1, 30), st.sampled_from([(), ((ALWAYS, 1.0),), ((ALWAYS, 2.0),)])),
    max_size=4,
    unique_by=lambda pair: pair[0],
).map(lambda pairs: (Span(0, ()), *(Span(*pair) for pair in sorted(pairs, key=lambda p: p[0]))))


def test_a_lora_counts_from_the_beginning() -> None:
    assert spans_of([1, 2, 3], ()) == PLAIN
    assert spans_of([1, 2, 3], ((ALWAYS, 0.5),)) == (Span(0, ((ALWAYS, 0.5),)),)


@pytest.mark.parametrize(
    ("prompt", "start"),
    [([1, 7, 8, 2], 1), ([7, 8, 3, 7, 8], 3), ([7, 8], 0), ([7, 7, 8], 1)],
)
def test_an_activated_lora_counts_from_its_last_invocation_on(
    prompt: list[int], start: int
) -> None:
    spans = spans_of(prompt, ((INVOKED, 1.0),))
    assert adapters_at(spans, start) == ((INVOKED, 1.0),)
    assert start == 0 or adapters_at(spans, start - 1) == ()
    both = spans_of(prompt, ((ALWAYS, 2.0), (INVOKED, 1.0)))
    assert adapters_at(both, start) == ((ALWAYS, 2.0), (INVOKED, 1.0))
    assert start == 0 or adapters_at(both, start - 1) == ((ALWAYS, 2.0),)


@pytest.mark.parametrize("prompt", [[], [7], [8, 7], [7, 1, 8]])
def test_without_its_invocation_it_does_not_count(prompt: list[int]) -> None:
    assert spans_of(prompt, ((INVOKED, 1.0),)) == PLAIN


@given(SPANS, SPANS)
def test_texts_agree_up_to_the_first_token_with_other_adapters(a: Any, b: Any) -> None:
    differing = [at for at in range(40) if adapters_at(a, at) != adapters_at(b, at)]
    assert agreement(a, b) == (differing[0] if differing else EVERYTHING)


@given(SPANS, st.integers(0, 35))
def test_what_goes_on_keeps_what_was(spans: Any, n_tokens: int) -> None:
    longer = continued(spans, n_tokens, ((INVOKED, 1.0),))
    for position in range(n_tokens):
        assert adapters_at(longer, position) == adapters_at(spans, position)
    assert adapters_at(longer, n_tokens) == ((INVOKED, 1.0),)
    assert end_of(longer, n_tokens) == EVERYTHING


class Context:
    """Notes what is applied."""

    adapters: Any = ()

    def set_adapters(self, adapters: Any) -> None:
        self.adapters = adapters


def busy(number: int, spans: Any, n_cached: int = 10) -> Slot:
    request = a_request(list(range(n_cached + 1)), number=number)
    return Slot(number, request.tokens, n_cached, request, spans=spans)


def test_each_set_of_adapters_has_its_turn() -> None:
    context: Any = Context()
    adapters = Adapters(context)
    one, two = (Span(0, ((ALWAYS, 1.0),)),), (Span(0, ((ALWAYS, 2.0),)),)
    slots = [busy(0, PLAIN), busy(1, one), busy(2, PLAIN), busy(3, two), Slot(4)]
    turns = [tuple(slot.id for slot in adapters.turn(slots)) for _ in range(60)]
    assert set(turns) == {(0, 2), (1,), (3,)}
    assert min(turns.count(turn) for turn in set(turns)) >= 12
    assert sum(a != b for a, b in itertools.pairwise(turns)) < 10


def test_a_chunk_ends_where_other_adapters_begin() -> None:
    request = a_request(list(range(20)), number=1)
    slot = Slot(0, request.tokens, 3, request, spans=(Span(0, ()), Span(12, ((ALWAYS, 1.0),))))
    assert [chunk.n_tokens for chunk in plan([slot], 64, 8)] == [9]
    slot.n_cached = 12
    assert [chunk.n_tokens for chunk in plan([slot], 64, 8)] == [8]


def test_a_prompt_goes_on_from_what_had_the_same_adapters() -> None:
    one = (Span(0, ((ALWAYS, 1.0),)),)
    slot, other = Slot(0, list(range(30)), 30, spans=one), Slot(1)
    prompt = list(range(40))
    assert place([slot, other], prompt, PLAIN) == (other, other, 0)
    assert place([slot, other], prompt, one) == (slot, slot, 30)
    late = (Span(0, ((ALWAYS, 1.0),)), Span(20, ()))
    placement = place([slot, other], prompt, late)
    assert placement is not None and placement.n_shared == 20
