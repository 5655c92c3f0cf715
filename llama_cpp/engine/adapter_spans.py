"""Which LoRA adapters each token of a sequence is computed with. Pure Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from ..handles import LoraAdapter

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
