"""``Admission``: who gets which slot, and who makes way."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .adapter_spans import EVERYTHING
from .finishing import Finisher
from .media import without_cut
from .media_evaluator import MediaEvaluator
from .request import Request
from .restored_state import RestoredStates
from .sequences import Sequences
from .slots import Placement, Slot, place
from .waiting import WaitingRequests, rank


class Admission:
    """Puts requests that wait into slots.

    Args:
        slots: All of them.
        waiting: Who waits.
        sequences: Change the memory.
        restored: States that prompts begin from.
        finisher: Ends requests.
        media_evaluator: Is told of prompts with images and sounds.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        waiting: WaitingRequests,
        sequences: Sequences,
        restored: RestoredStates,
        finisher: Finisher,
        media_evaluator: MediaEvaluator,
    ) -> None:
        self._slots = slots
        self._waiting = waiting
        self._sequences = sequences
        self._restored = restored
        self._finisher = finisher
        self._media_evaluator = media_evaluator
        self.tickets: list[tuple[int, int]] = []
        """Which slots are wanted for work by hand, and since when: later requests wait."""

    def admit(self) -> None:
        """Give slots to those whose turn it is, as far as there are any."""
        while (request := self._waiting.first()) is not None:
            placement = self._placement(request)
            if placement is None:
                return
            assert request.spans is not None
            self._waiting.remove(request, admitted=True)
            slot, source, n_shared = self._restored.place(request, placement)
            if request.media:
                n_shared = without_cut(request.media, n_shared)
                self._media_evaluator.add(slot)
            if slot is not source:
                self._sequences.copy(source, slot, n_shared)
            else:
                self._sequences.cut(slot, n_shared)
            if request.admit_time is None:
                request.admit_time = time.monotonic()
                request.n_reused = min(slot.n_cached, request.n_prompt)
            request.reach(slot.n_cached)
            slot.tokens, slot.spans = request.tokens, request.spans
            slot.request = request
            if not request.max_tokens and not request.prompt_logprobs:
                self._finisher.finish(slot, "length")

    def preempt(self, slot: Slot) -> None:
        """Take a slot from its request, which waits again and goes on where it was."""
        request = slot.request
        assert request is not None
        slot.request, slot.drafts = None, []
        slot.tokens = slot.tokens[: slot.n_cached]
        slot.last_used = self._finisher.number()
        self._waiting.add([request])

    def _placement(self, request: Request) -> Placement | None:
        """Where a request goes, if it does so now: a lesser one makes way where it has to."""
        wanted = [number for number, since in self.tickets if since < request.number]
        slots = [slot for slot in self._slots if slot.id not in wanted]
        # Who was preempted would be so again, as long as nobody else is done.
        is_full = self._finisher.is_full and any(slot.request for slot in self._slots)
        if is_full or all(slot.request is not None for slot in slots):
            lesser = _least(slots, request.terms.priority)
            if lesser is None:
                return None
            self.preempt(lesser)
        assert request.spans is not None
        return place(slots, request.reusable, request.spans, patient=request.prompt_logprobs)


def _least(slots: Sequence[Slot], priority: int) -> Slot | None:
    """The slot of the least important request below a priority, if there is any."""
    lesser = [
        (rank(slot.request), slot)
        for slot in slots
        if slot.request is not None
        and slot.request.terms.priority < priority
        # What a context shift has dropped cannot be computed again.
        and slot.n_exact == EVERYTHING
    ]
    return max(lesser, key=lambda each: each[0])[1] if lesser else None
