"""The loop: the model replies, its calls are run and it is told the results, until none is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

from ..chat.options import ReplyOptions
from ..errors import InvalidArgumentError
from ..sampling.options import check_names
from ..validation.numbers import integer, number
from .calls import ToolCaller
from .events import Event, Finished, ModelReply, ReplyDelta, ToolCall, ToolResult
from .mcp_server import MCPServer
from .streamed import StreamedReply
from .tool import Tool

if TYPE_CHECKING:
    from typing_extensions import Self

Runnable: TypeAlias = Union[Callable[..., Any], Tool, MCPServer]  # noqa: UP007 - as in events


_CUT_OFF: Mapping[str, Literal["stop", "length", "timeout"]] = {
    "length": "length", "timeout": "timeout",
}  # fmt: skip


class Conversation:
    """A conversation with tools: what to ask the model, and what to make of its replies.

    Args:
        messages: OpenAI's messages.
        tools: What the model may call.
        max_steps: How many replies there are at most.
        tool_timeout: Seconds that a call may take; None: any time.
        stream: Whether parts of replies are events too.
        sees_images: Whether the model can be shown images.
        options: Further arguments of ``create_chat_completion``; ``tool_choice`` counts for the
            first reply.

    Attributes:
        caller: Runs its calls.
        streams: Whether parts of replies are events too.
        n_steps: How many replies there were.

    Raises:
        InvalidArgumentError: An argument is out of range, or two tools have the same name.
        TypeError: An option is unknown, or is decided by the run, like ``functions``.
        MCPServerError: A server of tools has ended.
    """

    def __init__(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Runnable],
        max_steps: int,
        tool_timeout: float | None,
        *,
        stream: bool = False,
        sees_images: bool,
        options: Mapping[str, Any],
    ) -> None:
        if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
            raise InvalidArgumentError(f"messages must be a list of dicts, not {messages!r}")
        self._max_steps = integer("max_steps", max_steps, 1, 1_000_000)
        if tool_timeout is not None:
            tool_timeout = number("tool_timeout", tool_timeout, 0.001, 1e6)
        check_names(options, ReplyOptions.__annotations__)
        if (replies := options.get("n", 1)) != 1:
            raise InvalidArgumentError(f"n={replies!r}: a run goes on with one reply")
        named = tools_by_name(tools)
        self.caller = ToolCaller(named, tool_timeout, sees_images=sees_images)
        self._messages = [*messages]
        self._options = {**options, "tools": [each.as_openai for each in named.values()] or None}
        if stream:
            self._options["stream"] = True
        self.streams = stream
        self.n_steps = 0
        self._last: ModelReply | None = None
        self._reason: Literal["stop", "length", "timeout", "max_steps"] | None = None

    def request(self) -> Mapping[str, Any] | None:
        """Return the arguments of the next ``create_chat_completion``, or None at the end."""
        if self._reason is None and self.n_steps == self._max_steps:
            self._reason = "max_steps"
        if self._reason is not None:
            return None
        asked = {**self._options, "messages": [*self._messages]}
        if self.n_steps:
            asked.pop("tool_choice", None)  # else a demanded call would be demanded for ever
        return asked

    def read(self, response: Mapping[str, Any]) -> tuple[ModelReply, list[ToolCall]]:
        """Take a reply, and return what it calls."""
        self.n_steps += 1
        self._last = reply = ModelReply(self.n_steps, response)
        message = {key: each for key, each in reply.message.items() if key != "tool_calls"}
        made = reply.message.get("tool_calls") or []
        calls = [_call(each) for each in made]
        cut_off = _CUT_OFF.get(reply.finish_reason or "")
        if cut_off is None and any(each.get("status") == "incomplete" for each in made):
            cut_off = "stop"  # by a stop string
        if cut_off is not None:
            self._reason, calls = cut_off, []  # cut like the reply, so nothing to go on with
        elif not calls:
            self._reason = "stop"
        else:
            message["tool_calls"] = [_told(*each) for each in zip(made, calls, strict=True)]
        self._messages.append(message)
        return reply, calls

    def add(self, result: ToolResult) -> None:
        """Take the result of a call."""
        self._messages.append(result.message)

    def finished(self) -> Finished:
        """Return the last event."""
        assert self._reason is not None
        assert self._last is not None
        return Finished(self._reason, self._last.message.get("content") or "", self._messages)


class ToolRun(Iterator[Event]):
    """A run of a model with tools: an iterator of its events. Closing it ends the run.

    Args:
        conversation: The conversation.
        answer: ``create_chat_completion``.
    """

    def __init__(self, conversation: Conversation, answer: Callable[..., Any]) -> None:
        self._events = _events(conversation, answer)

    def __next__(self) -> Event:
        return next(self._events)

    def result(self) -> Finished:
        """Go through the events that are left, and return the last one.

        Raises:
            InvalidArgumentError: The last event was taken already.
            Exception: What ``create_chat_completion`` raises.
        """
        for event in self:
            if isinstance(event, Finished):
                return event
        raise _nothing_left()

    def close(self) -> None:
        """End the run. A function that runs in a thread goes on; its result is lost."""
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncToolRun(AsyncIterator[Event]):
    """A ``ToolRun`` for ``asyncio``.

    Args:
        conversation: The conversation.
        answer: ``create_chat_completion``, to be awaited.
    """

    def __init__(self, conversation: Conversation, answer: Callable[..., Awaitable[Any]]) -> None:
        self._events = _async_events(conversation, answer)

    async def __anext__(self) -> Event:
        return await self._events.__anext__()

    async def result(self) -> Finished:
        """Go through the events that are left, and return the last one.

        Raises:
            InvalidArgumentError: The last event was taken already.
            Exception: What ``create_chat_completion`` raises.
        """
        async for event in self:
            if isinstance(event, Finished):
                return event
        raise _nothing_left()

    async def aclose(self) -> None:
        """End the run and cancel its calls. A function in a thread goes on; its result is lost."""
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


def tools_by_name(tools: Sequence[Runnable]) -> dict[str, Tool]:
    """Make tools of functions, and take those of servers.

    Raises:
        InvalidArgumentError: One is none of these, or two have the same name.
        MCPServerError: A server has ended.
    """
    if isinstance(tools, str | bytes | Mapping) or not isinstance(tools, Sequence):
        raise InvalidArgumentError(f"tools must be a list of functions, not {tools!r}")
    named: dict[str, Tool] = {}
    for given in tools:
        for tool in given.tools if isinstance(given, MCPServer) else [_tool(given)]:
            if tool.name in named:
                raise InvalidArgumentError(
                    f"two tools have the name {tool.name!r}: give one another by "
                    "Tool.of(function, name=...), or those of a server a prefix"
                )
            named[tool.name] = tool
    return named


def _tool(given: Callable[..., Any] | Tool) -> Tool:
    return given if isinstance(given, Tool) else Tool.of(given)


def _call(call: Mapping[str, Any]) -> ToolCall:
    text = call["function"].get("arguments") or "{}"
    try:
        arguments = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        arguments = text
    return ToolCall(call.get("id") or "", call["function"]["name"], arguments)


def _told(made: Mapping[str, Any], call: ToolCall) -> Mapping[str, Any]:
    if isinstance(call.arguments, Mapping):
        return made
    # Templates refuse such arguments; the result says what they were.
    return {**made, "function": {**made["function"], "arguments": "{}"}}


def _events(conversation: Conversation, answer: Callable[..., Any]) -> Generator[Event, None, None]:
    while (request := conversation.request()) is not None:
        response = answer(**request)
        if conversation.streams:
            response = yield from _deltas(conversation.n_steps + 1, response)
        reply, calls = conversation.read(response)
        yield reply
        yield from calls
        # All are begun before the first is waited for.
        for result in [conversation.caller.start(call) for call in calls]:
            event = result()
            conversation.add(event)
            yield event
    yield conversation.finished()


def _deltas(step: int, chunks: Iterator[Any]) -> Generator[Event, None, Mapping[str, Any]]:
    whole = StreamedReply()
    try:
        for chunk in chunks:
            if delta := whole.add(chunk):
                yield ReplyDelta(step, delta)
    finally:
        if hasattr(chunks, "close"):  # a handler of the caller's own may return any iterator
            chunks.close()
    return whole.response()


async def _async_events(
    conversation: Conversation, answer: Callable[..., Awaitable[Any]]
) -> AsyncGenerator[Event, None]:
    while (request := conversation.request()) is not None:
        response = await answer(**request)
        if conversation.streams:
            whole = StreamedReply()
            async with aclosing(response) as chunks:
                async for chunk in chunks:
                    if delta := whole.add(chunk):
                        yield ReplyDelta(conversation.n_steps + 1, delta)
            response = whole.response()
        reply, calls = conversation.read(response)
        yield reply
        for call in calls:
            yield call
        tasks = [asyncio.ensure_future(conversation.caller.run(call)) for call in calls]
        try:
            for task in tasks:
                event = await task
                conversation.add(event)
                yield event
        finally:
            for task in tasks:
                task.cancel()
    yield conversation.finished()


def _nothing_left() -> InvalidArgumentError:
    return InvalidArgumentError(
        "this run is over and its last event was taken: keep the Finished, or start another run"
    )
