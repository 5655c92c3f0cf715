"""A model whose replies are written down, for loops that call tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llama_cpp.tools.loop import Conversation, Runnable

QUESTION = [{"role": "user", "content": "Well?"}]


def calling(*calls: tuple[str, Any], reason: str = "tool_calls") -> dict[str, Any]:
    """A reply that calls tools by name; arguments that are texts are written as they are."""
    made = [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": given if isinstance(given, str) else json.dumps(given),
            },
        }
        for index, (name, given) in enumerate(calls)
    ]
    return _response({"role": "assistant", "content": None, "tool_calls": made}, reason)


def saying(text: str, reason: str = "stop") -> dict[str, Any]:
    return _response({"role": "assistant", "content": text}, reason)


def _response(message: Mapping[str, Any], reason: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}


class ScriptedModel:
    """Gives one reply after the other, and keeps what it was asked."""

    def __init__(self, *replies: Mapping[str, Any]) -> None:
        self._replies = iter(replies)
        self.asked: list[dict[str, Any]] = []

    def answer(self, **request: Any) -> Mapping[str, Any]:
        self.asked.append(request)
        return next(self._replies)

    async def async_answer(self, **request: Any) -> Mapping[str, Any]:
        return self.answer(**request)


def conversation(
    tools: Sequence[Runnable],
    max_steps: int = 10,
    tool_timeout: float | None = 60,
    *,
    sees_images: bool = False,
    **options: Any,
) -> Conversation:
    return Conversation(
        QUESTION, tools, max_steps, tool_timeout, sees_images=sees_images, options=options
    )


def blocking(released: Callable[[], Any]) -> Callable[[], str]:
    """A function that waits for something."""

    def hang() -> str:
        released()
        return "late"

    return hang
