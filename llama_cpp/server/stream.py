"""Answers that come in parts, as server-sent events; answers to clients that may leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from .encoding import JSONAnswer, event
from .errors import ErrorResponse, described, server_ends
from .request_record import RequestRecord, record_of

T = TypeVar("T")

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"

LEFT = 499
"""The status of who left, which nginx made usual."""

Failed = Callable[[int, ErrorResponse], bytes]


class EventStream(Response):
    """Server-sent events, until they end or the client leaves.

    Args:
        parts: Bytes of whole events.
        failed: Makes the last event of what went wrong, of its status and error object.
        resources: What is given back when it is over, whether it has begun or not.
    """

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        failed: Failed | None = None,
        resources: AsyncExitStack | None = None,
    ) -> None:
        super().__init__(
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        del self.headers["content-length"]
        self._parts = parts
        self._failed = failed or failure_event
        self._resources = resources or AsyncExitStack()
        self._has_begun = self._is_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        record = record_of(scope)
        async with self._resources:
            try:
                await until_left(receive, self._send(send, record))
                if not self._is_over:
                    record.break_off("cancelled", LEFT)
            except asyncio.CancelledError:  # nobody else cancels requests than the server's end
                if not self._has_begun:
                    raise
                await self._fail(server_ends(), send, record)
                await send(_body(b"", more=False))

    async def _send(self, send: Send, record: RequestRecord) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        self._has_begun = True
        try:
            async for part in self._parts:
                await send(_body(part))
        except Exception as error:
            await self._fail(error, send, record)
        finally:
            await self._parts.aclose()  # type: ignore[attr-defined]  # they are generators
        await send(_body(b"", more=False))
        self._is_over = True

    async def _fail(self, error: BaseException, send: Send, record: RequestRecord) -> None:
        status, body, _ = described(error)
        record.break_off("cut", status)
        await send(_body(self._failed(status, body)))


def _body(part: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": part, "more_body": more}


def failure_event(status: int, error: ErrorResponse) -> bytes:
    """The event of what went wrong in the middle of an answer."""
    return event({"error": error})


async def until_left(receive: Receive, work: Awaitable[T]) -> T | None:
    """Wait for work, which is cancelled when the client leaves."""
    task = asyncio.ensure_future(work)

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    watcher = asyncio.create_task(watch())
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        watcher.cancel()
        task.cancel()
        # Its end gives the slot back, and nobody else waits for that.
        await asyncio.gather(task, watcher, return_exceptions=True)


async def answered(request: Request, work: Awaitable[Any]) -> Response:
    """Answer with what work gives; a client that leaves cancels it."""
    result = await until_left(request.receive, work)
    if result is None:
        record_of(request.scope).break_off("cancelled", LEFT)
        return Response(status_code=LEFT)  # nobody reads it
    return JSONAnswer(result)
