"""``StepLock``: which of the waiting threads steps."""

from __future__ import annotations

import threading

from ..errors import BusyError, ClosedError
from .request import Call


class StepLock:
    """Is held by one thread at a time; the others sleep until they are ready or it is free."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Also of what the holder and other threads change together."""
        self.closed = False
        self._driver: int | None = None
        self._sleeping: list[Call] = []
        self._next: Call | None = None

    @property
    def is_free(self) -> bool:
        """Whether nobody steps and somebody could; ask with the lock."""
        return self._driver is None and not self.closed

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for the lock itself, and not for tokens."""
        return any(call.wants_step_lock for call in self._sleeping)

    def take(self, call: Call) -> bool:
        """Become the one who steps; False after sleeping, to look again what there is to do.

        Raises:
            ClosedError: There is nothing to step any more.
            BusyError: This thread is stepping: it is in a callback.
        """
        me = threading.get_ident()
        with self.lock:
            if self.closed:
                raise closed()
            if self._driver is None and self._next in (None, call):
                self._driver, self._next = me, None
                return True
            if self._driver == me:
                raise BusyError(
                    "the model is generating on this thread: it cannot be used from a logits "
                    "processor, a stopping criterion or another callback of that call"
                )
            call.wake = threading.Condition(self.lock)
            self._sleeping.append(call)
            try:
                call.wake.wait()
            except BaseException:
                self._forget(call)
                if self._next is call:
                    self._next = None
                self._pass_on()
                raise
            self._forget(call)
            return False

    def take_in_turn(self, call: Call) -> None:
        """Become the one who steps, however long that takes.

        Raises:
            ClosedError: There is nothing to step any more.
            BusyError: This thread is stepping: it is in a callback.
        """
        try:
            while not self.take(call):
                pass
        finally:
            self.decline(call)

    def leave(self, *, after_work_by_hand: bool = False) -> None:
        """Let another thread step, those first who want the lock itself.

        Args:
            after_work_by_hand: Those first who wait for tokens: a loop of work by hand would take
                the lock again before any of them is awake.
        """
        with self.lock:
            self._driver = None
            by_hand = [call for call in self._sleeping if call.wants_step_lock]
            for_tokens = [c for c in self._sleeping if not (c.is_ready() or c.wants_step_lock)]
            turns = for_tokens + by_hand if after_work_by_hand else by_hand
            self._next = turns[0] if turns else None
            self._pass_on()

    def decline(self, call: Call) -> None:
        """Let others step if it is the turn of a call that waits no more.

        It may be finished, or Ctrl-C has come between its turn and its taking it.
        """
        if self._next is call:
            with self.lock:
                self._next = None
                self._pass_on()

    def wake_ready(self) -> None:
        """Wake those who have something to do."""
        if self._sleeping:
            with self.lock:
                for call in [each for each in self._sleeping if each.is_ready()]:
                    self._wake(call)

    def close(self) -> None:
        """Wake everybody, to learn that it is over."""
        with self.lock:
            self.closed = True
            for call in tuple(self._sleeping):
                self._wake(call)

    def _pass_on(self) -> None:
        """Wake who is ready, and one more to step if nobody does."""
        for call in [each for each in self._sleeping if each.is_ready()]:
            self._wake(call)
        if self._driver is None and self._sleeping:
            self._wake(self._next if self._next in self._sleeping else self._sleeping[0])

    def _wake(self, call: Call) -> None:
        if call.wake is not None:
            call.wake.notify()
        self._forget(call)

    def _forget(self, call: Call) -> None:
        if call in self._sleeping:
            self._sleeping.remove(call)


def closed() -> ClosedError:
    """Make the error of those who come too late."""
    return ClosedError("the model is closed: create a new Llama")


def in_use() -> BusyError:
    """Make the error of those who work by hand where they have a request running."""
    return BusyError(
        "a completion is being generated in this sequence: exhaust or close its iterator before "
        "working on the sequence by hand"
    )
