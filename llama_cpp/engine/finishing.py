"""``Finisher``: how requests end, and what is left of their slots then."""

from __future__ import annotations

import itertools
import time

from .request import FinishReason, Request
from .slots import Slot


class Finisher:
    """EndTokens requests, and numbers them and the use of slots in their order."""

    def __init__(self) -> None:
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
