"""``ResponseBuilder``: the object of the responses API, and the events by which it grows."""

from __future__ import annotations

import abc
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..chunk_builder import Event, calls_in, whole_as_chunk

_CUT = {"length": "max_output_tokens", "timeout": "timeout"}
"""Why a response is incomplete, by the finish reason of the chat."""


class ResponseBuilder:
    """Makes a response of the parts of a chat's answer.

    Args:
        echoed: The fields that repeat the request.
    """

    def __init__(self, echoed: Mapping[str, Any]) -> None:
        self._number = 0
        self._open: _Item | None = None
        self._output: list[dict[str, Any]] = []
        self.response: dict[str, Any] = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": float(int(time.time())),
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "output": self._output,
            "usage": None,
            **echoed,
        }

    def begin(self) -> Iterator[Event]:
        """Open the response."""
        for name in ("created", "in_progress"):
            yield self._event(f"response.{name}", response={**self.response, "output": []})

    def add(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Take a part of the answer."""
        if usage := chunk.get("usage"):
            self.response["usage"] = _usage(usage)
        for choice in chunk["choices"]:
            delta = choice["delta"]
            if thoughts := delta.get("reasoning_content"):
                yield from self._grow(_Thoughts, thoughts)
            if text := delta.get("content"):
                yield from self._grow(_Text, text, _logprobs(choice))
            for call in calls_in(delta):
                yield from self._call(call)
            if reason := choice["finish_reason"]:
                cut = _CUT.get(reason)
                yield from self._close("incomplete" if cut else "completed")
                if cut:
                    self.response["status"] = "incomplete"
                    self.response["incomplete_details"] = {"reason": cut}
                else:
                    self.response["status"] = "completed"

    def finish(self) -> Iterator[Event]:
        """End the response."""
        self.response["completed_at"] = float(int(time.time()))
        yield self._event(f"response.{self.response['status']}", response=self.response)

    def fail(self, error: Mapping[str, Any]) -> Iterator[Event]:
        """End the response where something went wrong."""
        self.response["status"] = "failed"
        self.response["error"] = {"code": "server_error", "message": error["message"]}
        yield self._event("response.failed", response=self.response)

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Make the response of a whole answer."""
        for _ in self.add(whole_as_chunk(answer)):
            pass
        for _ in self.finish():
            pass
        return self.response

    def _call(self, call: Mapping[str, Any]) -> Iterator[Event]:
        function = call["function"]
        item = self._open
        if not isinstance(item, _Call) or item.number != call["index"]:
            yield from self._close()
            item = _Call(len(self._output), call["index"], call["id"], function["name"])
            self._open = item
            self._output.append(item.item)
            yield from self._numbered(item.begin())
        if function.get("arguments"):
            yield from self._numbered(item.add(function["arguments"], []))

    def _grow(
        self, kind: type[_Text | _Thoughts], text: str, logprobs: Sequence[Any] = ()
    ) -> Iterator[Event]:
        if not isinstance(self._open, kind):
            yield from self._close()
            self._open = kind(len(self._output))
            self._output.append(self._open.item)
            yield from self._numbered(self._open.begin())
        yield from self._numbered(self._open.add(text, logprobs))

    def _close(self, status: str = "completed") -> Iterator[Event]:
        if self._open is not None:
            self._open.item["status"] = status
            yield from self._numbered(self._open.end())
            self._open = None

    def _numbered(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            yield self._event(event.pop("type"), **event)

    def _event(self, kind: str, **fields: Any) -> Event:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event


class _Item(abc.ABC):
    """One entry of the output, as it grows."""

    def __init__(self, index: int, item: dict[str, Any]) -> None:
        self.item = item
        self._place = {"item_id": item["id"], "output_index": index}
        self._index = index
        self._text = ""

    def begin(self) -> Iterator[Event]:
        """Open it."""
        yield {
            "type": "response.output_item.added", "output_index": self._index,
            "item": dict(self.item),
        }  # fmt: skip

    @abc.abstractmethod
    def add(self, text: str, logprobs: Sequence[Any]) -> Iterator[Event]:
        """Let it grow."""

    def end(self) -> Iterator[Event]:
        """Close it."""
        yield {
            "type": "response.output_item.done", "output_index": self._index, "item": self.item,
        }  # fmt: skip


class _Part(_Item):
    """An entry that holds one part, which is text."""

    kind: str
    name: str

    def begin(self) -> Iterator[Event]:
        yield from super().begin()
        yield {"type": "response.content_part.added", **self._place, "content_index": 0,
               "part": self._part()}  # fmt: skip

    def add(self, text: str, logprobs: Sequence[Any]) -> Iterator[Event]:
        self._text += text
        yield {"type": f"response.{self.kind}.delta", **self._place, "content_index": 0,
               "delta": text, **self._extra(logprobs)}  # fmt: skip

    def end(self) -> Iterator[Event]:
        self.item["content"] = [self._part()]
        yield {"type": f"response.{self.kind}.done", **self._place, "content_index": 0,
               "text": self._text, **self._extra([])}  # fmt: skip
        yield {"type": "response.content_part.done", **self._place, "content_index": 0,
               "part": self._part()}  # fmt: skip
        yield from super().end()

    def _part(self) -> dict[str, Any]:
        return {"type": self.name, "text": self._text}

    def _extra(self, logprobs: Sequence[Any]) -> dict[str, Any]:
        return {}


class _Text(_Part):
    kind, name = "output_text", "output_text"

    def __init__(self, index: int) -> None:
        super().__init__(index, {
            "id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant",
            "status": "in_progress", "content": [],
        })  # fmt: skip
        self._logprobs: list[Any] = []

    def add(self, text: str, logprobs: Sequence[Any]) -> Iterator[Event]:
        self._logprobs += logprobs
        yield from super().add(text, logprobs)

    def _part(self) -> dict[str, Any]:
        return {**super()._part(), "annotations": [], "logprobs": list(self._logprobs)}

    def _extra(self, logprobs: Sequence[Any]) -> dict[str, Any]:
        return {"logprobs": list(logprobs)}


class _Thoughts(_Part):
    kind, name = "reasoning_text", "reasoning_text"

    def __init__(self, index: int) -> None:
        super().__init__(index, {
            "id": f"rs_{uuid.uuid4().hex}", "type": "reasoning", "summary": [], "content": [],
            "status": "in_progress",
        })  # fmt: skip


class _Call(_Item):
    """A call of a tool."""

    def __init__(self, index: int, number: int, call_id: str, name: str) -> None:
        super().__init__(index, {
            "id": f"fc_{uuid.uuid4().hex}", "type": "function_call", "call_id": call_id,
            "name": name, "arguments": "", "status": "in_progress",
        })  # fmt: skip
        self.number = number

    def add(self, text: str, logprobs: Sequence[Any]) -> Iterator[Event]:
        self._text += text
        self.item["arguments"] = self._text
        yield {"type": "response.function_call_arguments.delta", **self._place, "delta": text}

    def end(self) -> Iterator[Event]:
        yield {"type": "response.function_call_arguments.done", **self._place,
               "name": self.item["name"], "arguments": self._text}  # fmt: skip
        yield from super().end()


def _logprobs(choice: Mapping[str, Any]) -> list[Any]:
    return list((choice.get("logprobs") or {}).get("content") or ())


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": usage["total_tokens"],
    }
