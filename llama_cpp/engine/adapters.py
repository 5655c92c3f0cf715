"""Which LoRA adapters the tokens of a sequence are computed with, and whose turn it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..handles import Context

if TYPE_CHECKING:
    from ..handles import LoraAdapter
    from .slots import Slot

EVERYTHING = 2**31

AdapterSet: TypeAlias = "tuple[tuple[LoraAdapter, float], ...]"
"""Adapters and their scales, in the order of their names."""


class Span(NamedTuple):
    """The tokens from ``start`` on, up to the next span, are computed with these adapters."""

    start: int
    adapters: AdapterSet


Spans: TypeAlias = tuple[Span, ...]

PLAIN: Spans = (Span(0, ()),)


def spans_of(prompt: Sequence[int], adapters: AdapterSet) -> Spans:
    """Say where in a text each adapter begins to count.

    An activated LoRA (Greenewald 2025, https://arxiv.org/abs/2504.12397) counts from the last place
    on where the prompt has its invocation tokens, so that what comes before is shared with texts
    without it; not at all if they are not there.
    """
    starts = [(_invoked(prompt, adapter.invocation_tokens), adapter, s) for adapter, s in adapters]
    bounds = sorted({0, *(start for start, _, _ in starts if start < EVERYTHING)})
    return tuple(Span(at, tuple((a, s) for start, a, s in starts if start <= at)) for at in bounds)


def _invoked(prompt: Sequence[int], tokens: Sequence[int]) -> int:
    wanted = list(tokens)
    if not wanted:
        return 0
    for start in range(len(prompt) - len(wanted), -1, -1):
        if prompt[start] == wanted[0] and list(prompt[start : start + len(wanted)]) == wanted:
            return start
    return EVERYTHING


def adapters_at(spans: Spans, position: int) -> AdapterSet:
    """The adapters that a token is computed with."""
    return next(span.adapters for span in reversed(spans) if span.start <= position)


def end_of(spans: Spans, position: int) -> int:
    """Where the span of a position ends."""
    return next((span.start for span in spans if span.start > position), EVERYTHING)


def agreement(a: Spans, b: Spans) -> int:
    """Up to where two sequences are computed with the same adapters."""
    if a == b:
        return EVERYTHING
    bounds = sorted({span.start for span in (*a, *b)})
    return next((at for at in bounds if adapters_at(a, at) != adapters_at(b, at)), EVERYTHING)


def continued(spans: Spans, n_tokens: int, adapters: AdapterSet) -> Spans:
    """The spans of ``n_tokens`` tokens that go on with these adapters."""
    kept = tuple(span for span in spans if span.start < n_tokens)
    if kept and kept[-1].adapters == adapters:
        return kept
    return (*kept, Span(n_tokens, adapters))


_TURN = 8
"""Steps with the same adapters while others wait: another set makes a step longer."""


class Adapters:
    """The adapters of a context: one set of them counts in each step.

    Args:
        context: Nobody else sets its adapters.
        default: What counts where a request does not say anything else.
    """

    def __init__(self, context: Context, default: AdapterSet = ()) -> None:
        self._context = context
        self.default = default
        self._current: AdapterSet = ()
        self._n_steps = 0
        self.apply(adapters_at(spans_of((), default), 0))

    def turn(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """Return the slots that go on in the next step: those of one set, each in its turn."""
        sets = list(
            dict.fromkeys(
                adapters_at(slot.spans, slot.n_cached) for slot in slots if slot.request is not None
            )
        )
        if len(sets) < 2:
            return slots
        self._n_steps += 1
        if self._current not in sets:
            self._current, self._n_steps = sets[0], 0
        elif self._n_steps >= _TURN:
            self._current = sets[(sets.index(self._current) + 1) % len(sets)]
            self._n_steps = 0
        return [
            slot
            for slot in slots
            if slot.request is not None and adapters_at(slot.spans, slot.n_cached) == self._current
        ]

    def apply(self, adapters: AdapterSet) -> None:
        """Compute with these from now on.

        Raises:
            ClosedError: One of them was unloaded.
        """
        if adapters != self._context.adapters:
            self._context.set_adapters(adapters)
