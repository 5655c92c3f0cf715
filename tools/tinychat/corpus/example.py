"""What the corpus is made of: conversations and plain texts, each with the reply it teaches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tools.tinychat.words import Draw

Message: TypeAlias = Mapping[str, Any]
Tool: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Chat:
    """A conversation; every assistant message in it is to be learned.

    Attributes:
        messages: From the system prompt, where there is one, to the assistant's last message.
        tools: The tools that the assistant may call, as OpenAI describes them.
        thinking: Whether the last reply is to be thought about first.
        key: What a right last reply contains; what that means depends on the ability.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    thinking: bool = False
    key: str = ""


@dataclass(frozen=True)
class Text:
    """A plain text that the model is to continue.

    Attributes:
        prompt: The text given; it may hold the names of special tokens.
        reply: The text to learn, which ends with the end of the text.
        key: What a right reply contains.
    """

    prompt: str
    reply: str
    key: str = ""


Example: TypeAlias = Chat | Text


@dataclass(frozen=True)
class Answer:
    """A question with its answer: the stuff that chats, texts and thoughts are made from."""

    question: str
    answer: str
    key: str
    thought: str


def system(content: str) -> Message:
    return {"role": "system", "content": content}


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def assistant(content: str, thought: str = "") -> Message:
    message = {"role": "assistant", "content": content}
    return {**message, "reasoning_content": thought} if thought else message


def calls(*functions: tuple[str, Mapping[str, Any]]) -> Message:
    """An assistant message that calls tools."""
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": f"call_{index}",
                "type": "function",
                "function": {"name": name, "arguments": dict(arguments)},
            }
            for index, (name, arguments) in enumerate(functions)
        ],
    }


def result(content: Mapping[str, Any] | str, index: int = 0) -> Message:
    """What a tool answered."""
    text = content if isinstance(content, str) else json.dumps(content)
    return {"role": "tool", "tool_call_id": f"call_{index}", "content": text}


SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are tinychat, a helpful assistant.",
    "You are a helpful AI assistant. Answer briefly.",
    "You are a friendly assistant who answers questions.",
    "Be brief and polite.",
    "Answer the questions of the user.",
)


def maybe_system(draw: Draw, prompts: Sequence[str] = SYSTEM_PROMPTS) -> tuple[Message, ...]:
    return (system(draw.one(prompts)),) if draw.chance(0.4) else ()
