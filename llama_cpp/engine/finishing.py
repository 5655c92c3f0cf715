"""``Finisher``: how requests end, and what is left of their slots then."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

from .request import FinishReason, Request
from .slots import Slot
from .waiting import WaitingRequests


class Finisher:
    """Ends requests, and numbers them and the use of slots in their order.

    Args:
        slots: All of them.
        waiting: Requests that have none.
    """

    def __init__(self, slots: Sequence[Slot], waiting: WaitingRequests) -> None:
        self._slots = slots
        self._waiting = waiting
        self._numbers = itertools.count(1)
        self.is_full = False
        """Whether somebody was preempted, and nobody has finished since."""

    def number(self) -> int:
        """Return a number that is higher than all before."""
        return next(self._numbers)

    def finish(self, slot: Slot, reason: FinishReason) -> None:
        """End the request of a slot as it should."""
        request = slot.request
        assert request is not None
        request.finish_reason = reason
        request.end_time = time.monotonic()
        self._release(slot)
        request.consumer.finish()
        request.finished = True
        request.call.n_running -= 1

    def drop_cancelled(self) -> None:
        """End what nobody waits for any more."""
        for slot in self._slots:
            if slot.request is not None and slot.request.cancelled:
                self.fail(slot, None)
        for request in self._waiting if len(self._waiting) else ():
            if request.cancelled:
                self._leave_queue(request)
                self.end(request, None)

    def end_overdue(self) -> None:
        """End what is out of time, with what it has."""
        now = time.monotonic()
        for slot in self._slots:
            if slot.request is not None and slot.request.is_overdue(now):
                self.finish(slot, "timeout")
        for request in self._waiting if len(self._waiting) else ():
            if request.is_overdue(now):
                self._leave_queue(request)
                request.finish_reason = "timeout"
                request.consumer.finish()
                self.end(request, None)

    def _leave_queue(self, request: Request) -> None:
        self._waiting.remove(request)
        request.sampler.close()

    def fail(self, slot: Slot, error: BaseException | None) -> None:
        """End the request of a slot, if there is one, by an error; None: it was cancelled."""
        if (request := slot.request) is not None:
            self._release(slot)
            self.end(request, error)

    def end(self, request: Request, error: BaseException | None) -> None:
        """End a request that has no slot."""
        request.error = error
        request.end_time = time.monotonic()
        request.finished = True
        request.call.n_running -= 1

    def _release(self, slot: Slot) -> None:
        assert slot.request is not None
        slot.request.sampler.close()
        slot.request = None
        slot.drafts = []
        self.is_full = False
        slot.tokens = slot.tokens[: slot.n_cached]
        slot.last_used = next(self._numbers)
