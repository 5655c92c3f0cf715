"""What happens while a model uses tools, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, Union


@dataclass(frozen=True)
class ReplyDelta:
    """The model has written a part of its reply.

    Attributes:
        step: The number of the reply, from 1.
        delta: OpenAI's delta: ``content``, ``reasoning_content`` or ``tool_calls``.
    """

    step: int
    delta: Mapping[str, Any]


@dataclass(frozen=True)
class ModelReply:
    """The model has replied.

    Attributes:
        step: The number of the reply, from 1.
        response: What ``create_chat_completion`` returned.
    """

    step: int
    response: Mapping[str, Any]

    @property
    def message(self) -> Mapping[str, Any]:
        """The message of the assistant."""
        message: Mapping[str, Any] = self.response["choices"][0]["message"]
        return message

    @property
    def finish_reason(self) -> str | None:
        """Why the reply ended."""
        reason: str | None = self.response["choices"][0].get("finish_reason")
        return reason


@dataclass(frozen=True)
class ToolCall:
    """The model calls a tool, which runs after the event of the reply's last call was taken.

    Attributes:
        id: By which the result answers it.
        name: The tool.
        arguments: What it is called with; the text itself where that is no JSON.
    """

    id: str
    name: str
    arguments: Any


@dataclass(frozen=True)
class ToolResult:
    """A call has its result.

    Attributes:
        call: The call.
        content: What the model is told: a text, or parts of a message.
        is_error: Whether the call failed.
    """

    call: ToolCall
    content: str | Sequence[Mapping[str, Any]]
    is_error: bool = False

    @property
    def message(self) -> dict[str, Any]:
        """The message that tells the model."""
        return {"role": "tool", "tool_call_id": self.call.id, "content": self.content}


@dataclass(frozen=True)
class Finished:
    """The last event.

    Attributes:
        reason: "stop": the model has answered; "length", "timeout": its reply was cut, and no call
            of that reply was run; "max_steps": it would have gone on calling.
        text: The text of the last reply.
        messages: The whole conversation, which another run can go on with.
    """

    reason: Literal["stop", "length", "timeout", "max_steps"]
    text: str
    messages: Sequence[Mapping[str, Any]]


Event: TypeAlias = Union[ReplyDelta, ModelReply, ToolCall, ToolResult, Finished]  # noqa: UP007 - as in options
