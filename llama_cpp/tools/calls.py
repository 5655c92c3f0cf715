"""One call of a tool: in a thread or in a task, until its time is up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, wait
from contextvars import copy_context
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeVar

from ..errors import ToolError
from .events import ToolCall, ToolResult
from .results import content_of, error_text
from .tool import Tool

T = TypeVar("T")


class ToolCaller:
    """Calls tools. What goes wrong with a call becomes its result.

    Args:
        tools: What can be called, by name.
        timeout: Seconds that a call may take; None: any time.
        sees_images: Whether the model can be shown images.
    """

    def __init__(
        self, tools: Mapping[str, Tool], timeout: float | None, *, sees_images: bool
    ) -> None:
        self._tools = tools
        self._timeout = timeout
        self._sees_images = sees_images

    def start(self, call: ToolCall) -> Callable[[], ToolResult]:
        """Begin a call in a thread, and return what waits for its result."""
        future = _in_thread(lambda: self._outcome(call))
        started = time.monotonic()

        def result() -> ToolResult:
            left = None
            if self._timeout is not None:
                left = max(0.0, started + self._timeout - time.monotonic())
            if wait([future], left).done:
                return future.result()
            return _failed(call, self._late())

        return result

    async def run(self, call: ToolCall) -> ToolResult:
        """Run a call: in this task, or in a thread where the function is not asynchronous."""
        tool = self._tools.get(call.name)
        try:
            if tool is not None and iscoroutinefunction(tool.function):
                return self._succeeded(call, await self._in_time(self._called(call)))
            future = _in_thread(lambda: self._outcome(call))
            return await self._in_time(asyncio.wrap_future(future))
        except (Exception, SystemExit) as error:
            return _failed(call, error)

    def _outcome(self, call: ToolCall) -> ToolResult:
        try:
            value = self._called(call)
            if isawaitable(value):
                value = asyncio.run(self._in_time(value))
            return self._succeeded(call, value)
        except BaseException as error:  # it is the tool's, which has this thread for itself
            return _failed(call, error)

    def _called(self, call: ToolCall) -> Any:
        tool = self._tools.get(call.name)
        if tool is None:
            known = ", ".join(map(repr, self._tools)) or "none"
            raise ToolError(f"there is no tool {call.name!r}: there are {known}")
        if not isinstance(call.arguments, Mapping):
            raise ToolError(f"the arguments must be a JSON object, not {call.arguments!r}"[:500])
        positional, named = tool.checked(call.arguments)
        return tool.function(*positional, **named)

    def _succeeded(self, call: ToolCall, value: Any) -> ToolResult:
        return ToolResult(call, content_of(value, sees_images=self._sees_images))

    async def _in_time(self, awaitable: Awaitable[T]) -> T:
        task = asyncio.ensure_future(awaitable)
        try:
            await asyncio.wait({task}, timeout=self._timeout)
            if not task.done():
                raise self._late()
            if task.cancelled():  # by the tool: a cancelled run has left at the wait
                raise ToolError("the tool was cancelled")
            return task.result()
        finally:
            task.cancel()

    def _late(self) -> ToolError:
        return ToolError(f"the tool took longer than {self._timeout:g} seconds")


def _failed(call: ToolCall, error: BaseException) -> ToolResult:
    return ToolResult(call, error_text(error), is_error=True)


def _in_thread(produce: Callable[[], ToolResult]) -> Future[ToolResult]:
    """Run something in a thread that nobody waits for when the process ends."""
    future: Future[ToolResult] = Future()
    context = copy_context()

    def fill() -> None:
        if future.set_running_or_notify_cancel():
            future.set_result(context.run(produce))

    threading.Thread(target=fill, name="llama-tool", daemon=True).start()
    return future
