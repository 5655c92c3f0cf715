"""``ActiveGeneration``: what the engine's thread works on, as the event loop sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol, cast

from ..generation.generator import Run


class PolledJob(Protocol):
    """A call of ``Llama`` that is asked for what there is."""

    @property
    def finish_reasons(self) -> list[str]:
        """Why texts ended, of those that have."""

    def charge(self, account: str, max_priority: int | None) -> None:
        """Let an account pay for the call, which has not begun."""

    def begin(self) -> Run:
        """Begin the texts, once."""

    def result(self) -> Any:
        """Return the whole answer."""

    def polled_chunks(self) -> Iterator[Any]:
        """Yield parts, and None where there is nothing yet."""

    def cancel(self) -> None:
        """Stop, from any thread."""


class Runner(Protocol):
    """What works on generations."""

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """Run something that takes a while."""

    def forget(self, running: ActiveGeneration) -> None:
        """Know that nobody waits for a generation any more."""


class ActiveGeneration:
    """One call, from its first step to its last.

    Args:
        runner: Works on it.
        job: The call, which has begun.
        started: When it was asked for, by ``time.monotonic``.
    """

    def __init__(self, runner: Runner, job: PolledJob, started: float) -> None:
        self._runner = runner
        self._job = job
        self.run = job.begin()
        self.news = asyncio.Event()
        self.started = started
        self._error: Exception | None = None
        self._closed: float | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there is something to take."""
        return self._error is not None or self.run.is_ready

    @property
    def finish_reasons(self) -> list[str]:
        """Why texts ended, of those that have."""
        return self._job.finish_reasons

    @property
    def seconds_to_first_token(self) -> float | None:
        """Since it was asked for; None before."""
        first = self.run.first_token_time
        return None if first is None else first - self.started

    @property
    def end_time(self) -> float:
        """When it ended, by ``time.monotonic``; now, while it goes on."""
        return self.run.end_time or self._closed or time.monotonic()

    @property
    def tokens_per_second(self) -> float | None:
        """After the first token; None where there are no others."""
        first, n_others, end = self.run.first_token_time, self.run.n_generated - 1, self.end_time
        return n_others / (end - first) if first is not None and n_others and end > first else None

    def figures(self) -> dict[str, int | float | None]:
        """Tokens and times so far, for a log; None is not known."""
        usage, first, rate = self.run.usage, self.seconds_to_first_token, self.tokens_per_second
        return {
            "input_tokens": usage["prompt_tokens"],
            "output_tokens": usage["completion_tokens"],
            "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"],
            "ttft_ms": None if first is None else round(first * 1e3, 1),
            "tokens_per_second": None if rate is None else round(rate, 1),
        }

    def fail(self, error: Exception) -> None:
        """End it: the engine cannot go on."""
        self._error = error
        self.news.set()

    async def result(self) -> Any:
        """Wait for the whole answer.

        Raises:
            Exception: What went wrong.
        """
        self.run.want_all()
        while not self.run.is_finished:
            await self._wait()
        return await self._runner.in_thread(self._job.result)

    async def chunks(self, ping_seconds: float | None = None) -> AsyncIterator[list[Any]]:
        """Yield what came with each step; nothing but an empty list after a quiet while.

        Args:
            ping_seconds: How long a quiet while is; None: never.
        """
        chunks = cast("Any", self._job.polled_chunks())
        pings = _Pings(self.news, ping_seconds)
        try:
            while True:
                there = []
                for chunk in chunks:
                    if chunk is None:
                        break
                    there.append(chunk)
                else:
                    if there:
                        yield there
                    return
                if there:
                    pings.has_news = True
                    yield there
                if self._error is not None:
                    raise self._error
                if not self.is_ready:
                    await self._wait()
                    if pings.is_due and not self.is_ready:
                        yield []
        finally:
            pings.stop()
            chunks.close()

    async def _wait(self) -> None:
        """Wait for news, or for a quiet while to pass."""
        self.news.clear()
        if not self.is_ready:
            await self.news.wait()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop it, if it is not finished, and give its place to others."""
        self._closed = self._closed or time.monotonic()
        self._job.cancel()
        self._runner.forget(self)


class _Pings:
    """Wakes who waits for news after a quiet while; one timer for many tokens, not one for each."""

    def __init__(self, news: asyncio.Event, seconds: float | None) -> None:
        self._news = news
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self.has_news = True
        self._due = False
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    @property
    def is_due(self) -> bool:
        """Whether a quiet while has passed since this was last asked."""
        due, self._due = self._due, False
        return due

    def stop(self) -> None:
        """Wake nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._seconds is not None:
            self._timer = self._loop.call_later(self._seconds, self._tick)

    def _tick(self) -> None:
        if not self.has_news:
            self._due = True
            self._news.set()
        self.has_news = False
        self._arm()


def prepared(call: Callable[[], PolledJob]) -> PolledJob:
    """Make a call and begin it, on a thread: prompts take a while to render and tokenize."""
    job = call()
    job.begin()
    return job
