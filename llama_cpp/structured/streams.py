"""Streams of chunks, which can tell what their replies say so far."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

from .partial import NOTHING, PartialJSON
from .shape import Shape

T = TypeVar("T")


class ReplyTexts:
    """The texts of the replies of a call, as chunks bring them.

    Args:
        shape: What the replies have to be; None where the call was given no type.
        schema: What they satisfy; None is not known.
    """

    def __init__(self, shape: Shape | None = None, schema: Mapping[str, Any] | None = None) -> None:
        self.shape = shape
        self._schema = schema if shape is None else shape.schema
        self._parts: dict[int, list[str]] = {}
        self._reasons: dict[int, str] = {}

    def without_texts(self) -> ReplyTexts:
        """Make one for another reader of the same chunks."""
        return ReplyTexts(self.shape, self._schema)

    def add(self, chunk: Any) -> None:
        """Take a chunk in OpenAI's shape, of a completion or of a chat."""
        for choice in chunk.get("choices", ()):
            text = choice["text"] if "text" in choice else choice["delta"].get("content")
            if text:
                self._parts.setdefault(choice["index"], []).append(text)
            if choice.get("finish_reason"):
                self._reasons[choice["index"]] = choice["finish_reason"]

    def begin(self, index: int) -> PartialText:
        """Begin to tell what one reply says so far."""
        return PartialText(self._parts.setdefault(index, []), PartialJSON(self._schema))

    def is_whole(self, index: int) -> bool:
        """Whether a reply has ended, and not for want of room."""
        return self._reasons.get(index) not in (None, "length", "timeout")

    def parsed(self, index: int) -> Any:
        """Make an object of a reply that has ended.

        Raises:
            ReplyValidationError: It is none.
        """
        shape = self.shape or Shape.of(self._schema or {})
        text = "".join(self._parts.get(index, ()))
        return shape.parse(text, self._reasons.get(index))


class PartialText:
    """What a reply says so far.

    Args:
        parts: Its text; it grows.
        partial: Reads it.
    """

    def __init__(self, parts: list[str], partial: PartialJSON) -> None:
        self._parts = parts
        self._partial = partial
        self._n_read = 0
        self._told = NOTHING

    def news(self, *, is_whole: bool = False) -> Iterator[Any]:
        """Yield the value, if it is another one than before."""
        n_parts = len(self._parts)
        if n_parts == self._n_read and not is_whole:
            return
        self._partial.add("".join(self._parts[self._n_read : n_parts]))
        self._n_read = n_parts
        if is_whole:
            self._partial.finish()
        value = self._partial.value
        if value is not NOTHING and (self._told is NOTHING or value != self._told):
            self._told = value
            yield self._partial.value  # callers may change theirs


class ChunkStream(Generator[T, None, None]):
    """The chunks of a call, as they come; closing it stops the generation.

    Args:
        chunks: Makes the chunks.
        texts: Keeps their texts.
    """

    def __init__(self, chunks: Generator[T, Any, Any], texts: ReplyTexts) -> None:
        self._chunks = chunks
        self._texts = texts

    def partial(self, index: int = 0) -> Iterator[Any]:
        """Yield what a reply in JSON says so far, each time that it says more.

        Arrays and objects have what is there already; strings grow, unless the schema says more of
        them than how long they are; numbers and keys come when they are whole. So each value is
        one that the schema admits, but for fields and items that are still missing.

        Args:
            index: Which of the replies, with ``n`` > 1.

        Raises:
            ReplyValidationError: The reply is no JSON.
            LlamaError: What the call raises.
        """
        partial = self._texts.begin(index)
        yield from partial.news()
        for _ in self:
            yield from partial.news()
        yield from partial.news(is_whole=self._texts.is_whole(index))

    def parsed(self, index: int = 0) -> Any:
        """Wait for the end, and return a reply as an object of the type that was asked for.

        Args:
            index: Which of the replies, with ``n`` > 1.

        Returns:
            What ``json.loads`` makes of it where no type was asked for.

        Raises:
            ReplyValidationError: It is no such object, or was cut off.
            LlamaError: What the call raises.
        """
        for _ in self:
            pass
        return self._texts.parsed(index)

    def send(self, value: None) -> T:
        """Return the next chunk."""
        chunk = self._chunks.send(value)
        self._texts.add(chunk)
        return chunk

    def throw(
        self,
        typ: Any,
        val: Any = None,
        tb: TracebackType | None = None,
    ) -> T:
        """Raise an error where the chunks are made."""
        error = typ if val is None else val
        return self._chunks.throw(error)

    def close(self) -> None:
        """Stop the generation; nothing happens where it has ended."""
        self._chunks.close()


class AsyncChunkStream(AsyncGenerator[T, None]):
    """The chunks of a call, as they come: see ``ChunkStream``.

    Args:
        chunks: Makes the chunks.
        texts: Keeps their texts.
    """

    def __init__(self, chunks: AsyncGenerator[T, Any], texts: ReplyTexts) -> None:
        self._chunks = chunks
        self._texts = texts

    async def partial(self, index: int = 0) -> AsyncIterator[Any]:
        """Yield what a reply says so far: see ``ChunkStream.partial``.

        Raises:
            Exception: What ``ChunkStream.partial`` raises.
        """
        partial = self._texts.begin(index)
        for value in partial.news():
            yield value
        async for _ in self:
            for value in partial.news():
                yield value
        for value in partial.news(is_whole=self._texts.is_whole(index)):
            yield value

    async def parsed(self, index: int = 0) -> Any:
        """Wait for the end, and return a reply as an object: see ``ChunkStream.parsed``.

        Raises:
            Exception: What ``ChunkStream.parsed`` raises.
        """
        async for _ in self:
            pass
        return self._texts.parsed(index)

    async def asend(self, value: None) -> T:
        """Return the next chunk."""
        chunk = await self._chunks.asend(value)
        self._texts.add(chunk)
        return chunk

    async def athrow(
        self,
        typ: Any,
        val: Any = None,
        tb: TracebackType | None = None,
    ) -> T:
        """Raise an error where the chunks are made."""
        error = typ if val is None else val
        return await self._chunks.athrow(error)

    async def aclose(self) -> None:
        """Stop the generation; nothing happens where it has ended."""
        await self._chunks.aclose()
