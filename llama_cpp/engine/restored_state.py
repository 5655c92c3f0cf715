"""``RestoredState``: what a slot begins with, instead of computing a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .adapter_spans import Spans
from .request import Request
from .sequences import Sequences
from .slots import Checkpoint, Placement, Slot


class RestoredState(NamedTuple):
    """What a sequence held.

    Attributes:
        tokens: What it consisted of.
        memory: Its state.
        n_usable: How many of its tokens the prompt begins with and need not be computed.
        checkpoints: What it was before, in ascending order.
    """

    tokens: Sequence[int]
    memory: bytes
    n_usable: int
    checkpoints: Sequence[Checkpoint] = ()


class RestoredStates:
    """States by the prompts that they were restored for, until those are admitted.

    Args:
        slots: So many states at most wait here.
        sequences: Change the memory.
    """

    def __init__(self, slots: Sequence[Slot], sequences: Sequences) -> None:
        self._slots = slots
        self._sequences = sequences
        self._states: dict[tuple[tuple[int, ...], Spans], RestoredState] = {}

    def add(self, prompt: Sequence[int], spans: Spans, state: RestoredState) -> None:
        """Have a state for a prompt that is about to be submitted, with these adapters."""
        while len(self._states) >= len(self._slots):
            self._states.pop(next(iter(self._states)), None)
        self._states[tuple(prompt), spans] = state

    def place(self, request: Request, placement: Placement) -> Placement:
        """Put the state for a prompt into a slot, if there is one and no slot holds as much."""
        if not self._states:
            return placement
        assert request.spans is not None
        state = self._states.pop((tuple(request.tokens), request.spans), None)
        if state is None:
            return placement
        held = self._sequences.reach(placement.source, placement.n_shared)
        if min(state.n_usable, len(request.reusable)) <= held:
            return placement
        free = [slot for slot in self._slots if slot.request is None]
        slot = min(free, key=lambda slot: (slot.n_cached > 0, slot.last_used))
        self._sequences.load(slot, state.tokens, state.memory, state.checkpoints)
        return Placement(slot, slot, min(state.n_usable, slot.n_cached))
