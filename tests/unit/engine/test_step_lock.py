"""Whose turn it is to step."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from llama_cpp.engine.request import Call
from llama_cpp.engine.step_lock import StepLock


class Interrupted(StepLock):
    """One for which Ctrl-C comes as soon as it is the turn of who works by hand."""

    def take(self, call: Call) -> bool:
        taken = super().take(call)
        if call.wants_step_lock and not taken:
            raise KeyboardInterrupt
        return taken


@pytest.fixture
def lock() -> Iterator[StepLock]:
    lock = Interrupted()
    yield lock
    lock.close()  # whoever still waits would hold the exit


def test_a_turn_that_is_not_taken_goes_to_others(lock: StepLock) -> None:
    by_hand = Call(())
    by_hand.wants_step_lock = True
    assert lock.take(Call(()))
    with ThreadPoolExecutor(2) as threads:
        interrupted = threads.submit(lock.take_in_turn, by_hand)
        while not lock.is_wanted:
            threading.Event().wait(0.001)
        lock.leave()
        assert isinstance(interrupted.exception(10), KeyboardInterrupt)
        taken = threads.submit(lock.take_in_turn, Call(()))
        try:
            assert taken.result(10) is None
        finally:
            lock.close()
