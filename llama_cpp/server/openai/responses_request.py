"""From a request of the responses API to a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import RequestError


def conversation(items: str | Sequence[Any], instructions: str | None) -> list[dict[str, Any]]:
    """Make chat messages of input items.

    Args:
        items: A text, or messages, calls, their outputs and thoughts, in their order.
        instructions: A system message that comes first.

    Raises:
        RequestError: An item has another form.
    """
    messages: list[dict[str, Any]] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    if isinstance(items, str):
        return [*messages, {"role": "user", "content": items}]
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise _wrong(index, "is no object")
        _add(messages, item, index)
    return messages


def _add(messages: list[dict[str, Any]], item: Mapping[str, Any], index: int) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        role = item.get("role")
        content = _content(item.get("content"), index)
        if role == "assistant":
            said = _assistant(messages)
            if not isinstance(content, str):
                raise _wrong(index, "is of the assistant, whose parts are texts")
            text = content
            said["content"] = (said.get("content") or "") + text
        else:
            messages.append({"role": role, "content": content})
    elif kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments", "{}")}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        _assistant(messages).setdefault("tool_calls", []).append(call)
    elif kind == "function_call_output":
        output = _content(item.get("output"), index)
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
    elif kind == "reasoning":
        parts = item.get("content") or item.get("summary") or []
        thoughts = "".join(str(p.get("text", "")) for p in parts if isinstance(p, Mapping))
        if thoughts:
            _assistant(messages)["reasoning_content"] = thoughts
    else:
        raise _wrong(index, f"has the type {kind!r}, which this server does not know")


def _assistant(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The message of the assistant that goes on: calls and texts in a row are one."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant"})
    return messages[-1]


def _content(content: Any, index: int) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _wrong(index, "has no content")
    parts: list[dict[str, Any]] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
            parts.append({"type": "text", "text": part["text"]})
        elif kind == "input_image" and isinstance(part.get("image_url"), str):
            parts.append({"type": "image_url", "image_url": {"url": part["image_url"]}})
        elif kind == "refusal":
            parts.append({"type": "text", "text": str(part.get("refusal", ""))})
        else:
            raise _wrong(index, f"has a part of the type {kind!r}, which this server does not know")
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def chat_tools(tools: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Make chat tools of the tools of the responses API, which are flat.

    Raises:
        RequestError: A tool is none that the caller runs.
    """
    if not tools:
        return None
    for tool in tools:
        if tool.get("type") != "function":
            raise RequestError(
                400, f"tools of the type {tool.get('type')!r} are not there: only function",
                param="tools",
            )  # fmt: skip
    return [
        {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}
        for tool in tools
    ]


def chat_tool_choice(choice: Any) -> Any:
    """Make a chat's tool choice."""
    if isinstance(choice, Mapping) and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice


def chat_response_format(text: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Make a chat's response format of ``text.format``."""
    form = (text or {}).get("format")
    if not isinstance(form, Mapping) or form.get("type") == "text":
        return None
    if form.get("type") == "json_schema":
        schema = {name: value for name, value in form.items() if name != "type"}
        return {"type": "json_schema", "json_schema": schema}
    return dict(form)


def _wrong(index: int, what: str) -> RequestError:
    return RequestError(400, f"input[{index}] {what}", param="input")
