"""``ModelRunner``: the one thread that steps a model's engine, for the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from ..errors import ClosedError, EngineAssertionError
from ..llama import Llama
from .errors import RequestError
from .generation import ActiveGeneration, PolledJob, prepared
from .monitor import Monitor

T = TypeVar("T")

_LOGGER = logging.getLogger("llama_cpp.server")

# After these a model, or a part of it, is closed for good.
_BROKEN = (ClosedError, EngineAssertionError)


class ModelRunner:
    """Decodes the requests of one model together. Made on the event loop that asks it.

    Args:
        llama: The model, which it owns.
        name: What it is called where it is told of.
        max_queue: So many requests may wait; further ones are refused.
        monitor: Is told what was done.
    """

    def __init__(self, llama: Llama, *, name: str, max_queue: int, monitor: Monitor) -> None:
        self.llama = llama
        self._name = name
        self.last_used = time.monotonic()
        self.n_leases = 0
        self.is_broken = False
        """Whether the engine failed in it, so that only a new one can answer."""
        self._limit = len(llama.engine.slots) + max_queue if not llama.vocab_only else max_queue
        self._monitor = monitor
        self._loop = asyncio.get_running_loop()
        self._running: set[ActiveGeneration] = set()
        self._n_preparing = 0
        self._is_notified = False
        self._is_closing = False
        self._work = threading.Event()
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="llama-prepare")
        self._computing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="llama-compute")
        self._thread = threading.Thread(target=self._drive, name="llama-engine", daemon=True)
        if not llama.vocab_only:
            llama.engine.after_step = self._notify
            self._thread.start()

    @property
    def n_active(self) -> int:
        """Requests that run or wait."""
        return len(self._running) + self._n_preparing

    async def start(self, call: Callable[[], PolledJob]) -> ActiveGeneration:
        """Begin a generation.

        Args:
            call: Makes the job; it runs on another thread.

        Raises:
            RequestError: Too many requests wait already.
            LlamaError: What is wrong with the request.
        """
        started = time.monotonic()
        async with self._place():
            job = await self.in_thread(lambda: prepared(call), otherwise=self._drop)
            running = ActiveGeneration(self, job, started)
            self._running.add(running)
            self._monitor.begun(self._name, running)
            if self.is_broken:  # since it was begun to be prepared, and nobody steps any more
                running.fail(ClosedError("the model was unloaded"))
        self._work.set()
        return running

    def _drop(self, job: PolledJob) -> None:
        """End a generation whose client left while it was prepared."""
        job.cancel()
        self._work.set()

    async def compute(self, call: Callable[[], T]) -> T:
        """Run something that computes by itself on another thread: embeddings, for example."""
        async with self._place():
            future = self._computing.submit(call)
            try:
                return await self._result(future)
            except asyncio.CancelledError:
                if not future.cancelled():  # it goes on, and so long its place is taken
                    self._n_preparing += 1
                    self.n_leases += 1
                    future.add_done_callback(
                        lambda _: self._loop.call_soon_threadsafe(self._computed)
                    )
                raise

    def _computed(self) -> None:
        self._n_preparing -= 1
        self.n_leases -= 1

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self.n_active >= self._limit:
            self._monitor.refused(self._name)
            raise RequestError(
                429,
                f"the server is busy: {self.n_active} requests run or wait; try again later",
                code="queue_full",
                headers={"Retry-After": "1"},
            )
        self._n_preparing += 1
        try:
            yield
        finally:
            self._n_preparing -= 1

    async def in_thread(
        self, call: Callable[[], T], otherwise: Callable[[T], None] | None = None
    ) -> T:
        """Run something that takes a while, and undo it if nobody waits any more."""
        future = self._threads.submit(call)
        try:
            return await self._result(future)
        except asyncio.CancelledError:
            if otherwise is not None and not future.cancel():
                future.add_done_callback(
                    lambda done: None if done.exception() else otherwise(done.result())
                )
            raise

    async def _result(self, future: Future[T]) -> T:
        try:
            return await asyncio.wrap_future(future)
        except _BROKEN:
            self.is_broken = True
            raise

    def forget(self, running: ActiveGeneration) -> None:
        """Know that nobody waits for a generation any more."""
        if running in self._running:
            self._running.discard(running)
            self._monitor.ended(running)
            self.last_used = time.monotonic()
            self._work.set()  # so that what was cancelled leaves its slot

    def close(self) -> None:
        """Free the model; what runs ends with ``ClosedError``. Blocks until that is done."""
        self._is_closing = True
        self._work.set()
        self._loop.call_soon_threadsafe(self._fail, ClosedError("the model was unloaded"))
        self.llama.close()
        if self._thread.is_alive():
            self._thread.join()
        self._threads.shutdown(wait=False)
        self._computing.shutdown(wait=False)

    # On the engine's thread.

    def _drive(self) -> None:
        engine = self.llama.engine
        while not self._is_closing:
            self._work.wait()
            self._work.clear()
            try:
                while len(engine):
                    engine.drive()
            except ClosedError as error:
                if not self._is_closing:
                    self.is_broken = True
                    self._loop.call_soon_threadsafe(self._fail, error)
                break
            except Exception as error:
                self.is_broken |= isinstance(error, _BROKEN)
                _LOGGER.exception("a step of the engine failed")
                self._loop.call_soon_threadsafe(self._fail, error)
                time.sleep(0.1)
                self._work.set()
        self._notify()

    def _notify(self) -> None:
        """Wake the event loop, once for all that this step gave."""
        if not self._is_notified:
            self._is_notified = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return

    # On the event loop.

    def _deliver(self) -> None:
        self._is_notified = False
        self._monitor.stepped(self._running)
        for running in self._running:
            if running.is_ready:
                running.news.set()

    def _fail(self, error: Exception) -> None:
        for running in tuple(self._running):
            running.fail(error)
