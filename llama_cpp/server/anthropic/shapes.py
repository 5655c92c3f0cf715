"""The messages API's shape: conversations, answers and events."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..chunk_builder import Event, calls_in, whole_as_chunk
from ..errors import RequestError
from ..types import INT32_MAX

_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_THINKING = ("enabled", "disabled", "adaptive")
_REASONS = {
    "stop": "end_turn", "length": "max_tokens", "timeout": "max_tokens", "tool_calls": "tool_use",
}  # fmt: skip


def conversation(system: Any, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Make chat messages.

    Raises:
        RequestError: A message or a block has another form.
    """
    made: list[dict[str, Any]] = []
    if system:
        made.append({"role": "system", "content": _text(system, "system")})
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant", "system"):
            raise RequestError(400, f"{where}.role must be user or assistant", param="messages")
        if isinstance(content, str):
            made.append({"role": role, "content": content})
        elif not isinstance(content, list):
            raise RequestError(400, f"{where} has no content", param="messages")
        elif role == "assistant":
            made.append(_said(content, where))
        else:
            made += _asked(role, content, where)
    return made


def _said(blocks: Sequence[Any], where: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    for block in _checked(blocks, where):
        kind = block.get("type")
        if kind == "text":
            message["content"] += str(block.get("text", ""))
        elif kind == "thinking":
            thoughts = message.get("reasoning_content", "") + str(block.get("thinking", ""))
            message["reasoning_content"] = thoughts
        elif kind == "tool_use":
            arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
            call = {"id": block.get("id"), "type": "function",
                    "function": {"name": block.get("name"), "arguments": arguments}}  # fmt: skip
            message.setdefault("tool_calls", []).append(call)
        elif kind != "redacted_thinking":
            raise _unknown(where, kind)
    return message


def _asked(role: str, blocks: Sequence[Any], where: str) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for block in _checked(blocks, where):
        kind = block.get("type")
        if kind == "text":
            parts.append({"type": "text", "text": str(block.get("text", ""))})
        elif kind == "image":
            parts.append(_image(block.get("source"), where))
        elif kind == "tool_result":
            content = _text(block.get("content") or "", where)
            results.append(
                {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": content}
            )
        else:
            raise _unknown(where, kind)
    if not parts:
        return results
    if all(part["type"] == "text" for part in parts):
        return [*results, {"role": role, "content": "".join(part["text"] for part in parts)}]
    return [*results, {"role": role, "content": parts}]


def _image(source: Any, where: str) -> dict[str, Any]:
    if isinstance(source, Mapping) and source.get("type") == "base64":
        url = f"data:{source.get('media_type')};base64,{source.get('data')}"
    elif isinstance(source, Mapping) and source.get("type") == "url":
        url = str(source.get("url"))
    else:
        raise RequestError(400, f"{where} has an image without a source", param="messages")
    return {"type": "image_url", "image_url": {"url": url}}


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    blocks = _checked(content, where)
    for block in blocks:
        if block.get("type") != "text":
            raise _unknown(where, block.get("type"))
    return "".join(str(block.get("text", "")) for block in blocks)


def _checked(blocks: Any, where: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(blocks, list) or not all(isinstance(each, Mapping) for each in blocks):
        raise RequestError(400, f"{where} must have blocks", param="messages")
    return blocks


def _unknown(where: str, kind: Any) -> RequestError:
    return RequestError(
        400, f"{where} has a block of the type {kind!r}, which this server does not know",
        param="messages",
    )  # fmt: skip


def chat_tools(tools: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Make chat tools.

    Raises:
        RequestError: A tool is none that the caller runs.
    """
    if not tools:
        return None
    for tool in tools:
        if "input_schema" not in tool:
            raise RequestError(
                400, "a tool needs an input_schema: there are no tools of the server's own",
                param="tools",
            )  # fmt: skip
    return [
        {"type": "function", "function": {
            "name": tool.get("name"), "description": tool.get("description") or "",
            "parameters": tool["input_schema"],
        }}
        for tool in tools
    ]  # fmt: skip


def chat_tool_choice(choice: Mapping[str, Any] | None) -> Any:
    """Make a chat's tool choice.

    Raises:
        RequestError: It is of no known type.
    """
    if choice is None:
        return None
    kind = choice.get("type")
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if not isinstance(kind, str) or kind not in _TOOL_CHOICES:
        raise _no_type("tool_choice", kind, (*_TOOL_CHOICES, "tool"))
    return _TOOL_CHOICES[kind]


def chat_response_format(form: Any) -> dict[str, Any]:
    """Make a chat's response format of ``output_config.format``.

    Raises:
        RequestError: It is of no known type, or has no schema.
    """
    kind = form.get("type") if isinstance(form, Mapping) else form
    if kind != "json_schema":
        raise _no_type("output_config.format", kind, ("json_schema",))
    if not isinstance(form.get("schema"), Mapping):
        raise RequestError(400, "output_config.format needs a schema", param="output_config")
    return {"type": "json_schema", "json_schema": {"schema": form["schema"]}}


def chat_thinking(thinking: Mapping[str, Any]) -> dict[str, Any]:
    """Make a chat's arguments of how much to think.

    Raises:
        RequestError: It is of no known type, or its budget is no number of tokens.
    """
    kind = thinking.get("type")
    if kind not in _THINKING:
        raise _no_type("thinking", kind, _THINKING)
    if kind == "disabled":
        return {"enable_thinking": False, "thinking_budget": 0}
    budget = thinking.get("budget_tokens")
    if budget is not None and (type(budget) is not int or not 0 <= budget <= INT32_MAX):
        raise RequestError(
            400, f"thinking.budget_tokens={budget!r} must be a number of tokens", param="thinking"
        )
    return {"enable_thinking": True, "thinking_budget": budget}


def _no_type(field: str, kind: Any, known: Sequence[str]) -> RequestError:
    return RequestError(
        400, f"{field}.type={kind!r} must be one of {', '.join(known)}", param=field
    )


class MessageBuilder:
    """Makes a message of the parts of a chat's answer.

    Args:
        model: What it says the model is.
        stop_string: Returns the stop string that ended the answer.
    """

    def __init__(self, model: str, stop_string: Callable[[], str | None]) -> None:
        self._stop_string = stop_string
        self._block: dict[str, Any] | None = None
        self._number = -1
        self._arguments = ""
        self.message: dict[str, Any] = {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }

    def begin(self, n_prompt_tokens: int) -> Iterator[Event]:
        """Open the message."""
        self.message["usage"]["input_tokens"] = n_prompt_tokens
        message = {**self.message, "content": [], "usage": dict(self.message["usage"])}
        yield {"type": "message_start", "message": message}

    def add(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Take a part of the answer."""
        if usage := chunk.get("usage"):
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            self.message["usage"] = {
                "input_tokens": usage["prompt_tokens"] - cached,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": cached,
                "output_tokens": usage["completion_tokens"],
            }
        for choice in chunk["choices"]:
            delta = choice["delta"]
            if thoughts := delta.get("reasoning_content"):
                yield from self._grow("thinking", thoughts)
            if text := delta.get("content"):
                yield from self._grow("text", text)
            for call in calls_in(delta):
                yield from self._call(call)
            if reason := choice["finish_reason"]:
                yield from self._close()
                stop = self._stop_string() if reason == "stop" else None
                self.message["stop_reason"] = "stop_sequence" if stop else _REASONS[reason]
                self.message["stop_sequence"] = stop

    def finish(self) -> Iterator[Event]:
        """End the message."""
        delta = {name: self.message[name] for name in ("stop_reason", "stop_sequence")}
        yield {"type": "message_delta", "delta": delta, "usage": self.message["usage"]}
        yield {"type": "message_stop"}

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Make the message of a whole answer."""
        for _ in self.add(whole_as_chunk(answer)):
            pass
        return self.message

    def _grow(self, kind: str, text: str) -> Iterator[Event]:
        if self._block is None or self._block["type"] != kind:
            extra = {"signature": ""} if kind == "thinking" else {}
            yield from self._open({"type": kind, kind: "", **extra})
        assert self._block is not None
        self._block[kind] += text
        yield self._delta({"type": f"{kind}_delta", kind: text})

    def _call(self, call: Mapping[str, Any]) -> Iterator[Event]:
        function = call["function"]
        if self._block is None or self._number != call["index"]:
            block = {"type": "tool_use", "id": call["id"], "name": function["name"], "input": {}}
            yield from self._open(block)
            self._number = call["index"]
        if arguments := function.get("arguments"):
            self._arguments += arguments
            yield self._delta({"type": "input_json_delta", "partial_json": arguments})

    def _open(self, block: dict[str, Any]) -> Iterator[Event]:
        yield from self._close()
        self._block, self._number, self._arguments = block, -1, ""
        self.message["content"].append(block)
        yield {"type": "content_block_start", "index": self._index, "content_block": dict(block)}

    def _close(self) -> Iterator[Event]:
        if self._block is not None:
            if self._block["type"] == "tool_use":
                self._block["input"] = _object(self._arguments)
            yield {"type": "content_block_stop", "index": self._index}
            self._block = None

    def _delta(self, delta: Mapping[str, Any]) -> Event:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    @property
    def _index(self) -> int:
        return len(self.message["content"]) - 1


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:  # the answer was cut off
        return {}
