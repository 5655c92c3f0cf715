"""What the shapes that are built of a chat's chunks have in common: responses and messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Protocol

from .encoding import event

Event = dict[str, Any]


class Builder(Protocol):
    """Makes events of the parts of a chat's answer."""

    def add(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Take a part."""

    def finish(self) -> Iterator[Event]:
        """End the answer."""


def written(events: Iterable[Event]) -> bytes:
    """Write events that are called by their types."""
    return b"".join(event(each, each["type"]) for each in events)


async def built_events(
    opening: Iterator[Event], builder: Builder, parts: AsyncIterator[list[Any]], ping: bytes
) -> AsyncIterator[bytes]:
    """Make the events of a stream.

    Args:
        opening: Those that come first.
        builder: Makes the others.
        parts: Chunks of a chat; an empty list means that it was quiet for a while.
        ping: What is sent then.
    """
    try:
        yield written(opening)
        async for chunks in parts:
            made = (each for chunk in chunks for each in builder.add(chunk))
            yield written(made) if chunks else ping
        yield written(builder.finish())
    finally:
        await parts.aclose()  # type: ignore[attr-defined]  # they are generators


def whole_as_chunk(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A whole answer of a chat as if it had come in one part."""
    choices = []
    for choice in answer["choices"]:
        message = choice["message"]
        calls = [{"index": i, **call} for i, call in enumerate(message.get("tool_calls") or ())]
        choices.append({**choice, "delta": {**message, "tool_calls": calls}})
    return {"choices": choices, "usage": answer["usage"]}


def calls_in(delta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of tool calls in a delta, without the mark of one that was cut off.

    The finish reason says that too.
    """
    return [call for call in delta.get("tool_calls") or () if "function" in call]
