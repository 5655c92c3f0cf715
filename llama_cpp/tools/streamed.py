"""A reply out of the chunks of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class StreamedReply:
    """Puts together what ``create_chat_completion`` would have returned without ``stream``."""

    def __init__(self) -> None:
        self._about: dict[str, Any] = {}
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish_reason: str | None = None

    def add(self, chunk: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take a chunk, and return what it adds to the message."""
        self._about |= {key: each for key, each in chunk.items() if key != "choices"}
        if not chunk["choices"]:  # it tells the usage
            return {}
        choice = chunk["choices"][0]
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        delta: Mapping[str, Any] = choice["delta"]
        for name in ("content", "reasoning_content"):
            if delta.get(name):
                self._message[name] = (self._message.get(name) or "") + delta[name]
        for part in delta.get("tool_calls") or []:
            self._add_call(part)
        return delta

    def response(self) -> dict[str, Any]:
        """Return the whole."""
        message = dict(self._message)
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        elif message["content"] is None:
            message["content"] = ""
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
        return {**self._about, "object": "chat.completion", "choices": [choice]}

    def _add_call(self, part: Mapping[str, Any]) -> None:
        function = part.get("function") or {}
        call = self._calls.setdefault(
            part["index"], {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = part.get("id") or call["id"]
        call["function"]["name"] = function.get("name") or call["function"]["name"]
        if "status" in part:
            call["status"] = part["status"]
        call["function"]["arguments"] += function.get("arguments") or ""
