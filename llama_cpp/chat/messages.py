"""What callers give for a chat, checked: messages, tools, the form of the reply."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..constraints.constraint import Constraint, json_schema
from ..constraints.gbnf import LlamaGrammar
from ..constraints.json_schema.converter import check_json_schema
from ..errors import InvalidArgumentError

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
"""OpenAI's roles; a template may know others."""

ToolChoice = Literal["auto", "required", "none"]


@dataclass(frozen=True)
class ReplyForm:
    """What a reply may, or has to, consist of.

    Attributes:
        tools: What may be called.
        tool_choice: Whether it may, must, or must not be.
        parallel: Whether one reply may have several calls.
        schema: The JSON schema of the whole reply.
        grammar: What else the whole reply has to look like.
        strict: Whether a keyword of the schema that cannot be enforced is an error.
    """

    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: ToolChoice = "none"
    parallel: bool = False
    schema: Mapping[str, Any] | None = None
    grammar: LlamaGrammar | str | Constraint | None = None
    strict: bool = False


def checked_messages(messages: Any, known_roles: Collection[str] = ROLES) -> list[dict[str, Any]]:
    """Check a conversation and bring it into OpenAI's present form.

    Members that are None are left out, for templates take them for something; ``function_call``
    and the role ``function`` become ``tool_calls`` and ``tool``.

    Args:
        messages: OpenAI's messages.
        known_roles: The roles that the template knows.

    Raises:
        InvalidArgumentError: There are none, or one is not a message, has an unknown role, or is
            the result of a call that nobody made.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise InvalidArgumentError(
            'messages must be a list of dicts like {"role": "user", "content": "Hi"}, not '
            f"{type(messages).__name__}"
        )
    if not messages:
        raise InvalidArgumentError("messages is empty: give at least one message")
    checked: list[dict[str, Any]] = []
    calls = _Calls([])
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        cleaned = _cleaned(message, where, known_roles)
        if made := cleaned.get("tool_calls"):
            calls = _Calls(made)
        elif cleaned["role"] == "tool":
            calls.match(cleaned, where)
        checked.append(cleaned)
    return checked


def text_of(content: str | list[Any]) -> str:
    """Return a content, or the texts of its parts one after the other."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _cleaned(message: Any, where: str, known_roles: Collection[str]) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise InvalidArgumentError(
            f'{where} must be a dict like {{"role": "user", "content": "Hi"}}, not {message!r}'
        )
    cleaned = {name: value for name, value in message.items() if value is not None}
    role = cleaned.get("role")
    if not isinstance(role, str) or role not in known_roles:
        raise InvalidArgumentError(
            f"{where} has the role {role!r}, known are {', '.join(sorted(known_roles))}"
        )
    content = cleaned.setdefault("content", "")
    if not isinstance(content, str | list | tuple):
        raise InvalidArgumentError(
            f"{where} has the content {content!r}, which is neither a text nor a list of parts"
        )
    if call := cleaned.pop("function_call", None):
        cleaned["tool_calls"] = [{"type": "function", "id": "call_0", "function": call}]
    if role == "function":
        cleaned["role"] = "tool"
    calls = cleaned.pop("tool_calls", [])
    if not isinstance(calls, list | tuple):
        raise InvalidArgumentError(f"{where} has tool_calls that are no list: {calls!r}")
    if calls:
        cleaned["tool_calls"] = [
            _cleaned_call(call, f"{where}.tool_calls[{number}]")
            for number, call in enumerate(calls)
        ]
    return cleaned


def _cleaned_call(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidArgumentError(
            f'{where} must be a dict like {{"id": "call_1", "type": "function", "function": '
            '{"name": "f", "arguments": "{}"}}'
        )
    arguments = function.get("arguments") or "{}"
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {**call, "type": "function", "function": {**function, "arguments": arguments}}


class _Calls:
    """The calls of one message, and which of them wait for a result."""

    def __init__(self, calls: Sequence[Mapping[str, Any]]) -> None:
        self._ids = [call.get("id", "") for call in calls]
        self._waiting = list(calls)

    def match(self, result: dict[str, Any], where: str) -> None:
        """Check that a result is that of a call, and name the call where it does not."""
        if not self._ids:
            raise InvalidArgumentError(
                f"{where} is the result of a tool, but no message before it calls one: keep the "
                "assistant's message with tool_calls in the conversation"
            )
        if "tool_call_id" not in result:
            self._name(result)
        wanted = result.get("tool_call_id")
        if wanted is not None and any(self._ids) and wanted not in self._ids:
            raise InvalidArgumentError(
                f"{where} answers the call {wanted!r}, but the calls before it are "
                f"{', '.join(map(repr, self._ids))}"
            )
        self._waiting = [call for call in self._waiting if call.get("id") != wanted]

    def _name(self, result: dict[str, Any]) -> None:
        # OpenAI's older form has the name of the function only, also beside calls that have ids.
        named = [c for c in self._waiting if c["function"]["name"] == result.get("name")]
        answered = next(iter(named or self._waiting), None)
        if answered is not None and answered.get("id") is not None:
            result["tool_call_id"] = answered["id"]


def reply_form(
    *,
    tools: Any,
    tool_choice: Any,
    functions: Any,
    function_call: Any,
    parallel_tool_calls: bool | None,
    response_format: Any,
    grammar: LlamaGrammar | str | Constraint | None,
) -> ReplyForm:
    """Put OpenAI's arguments about the form of the reply together.

    ``functions`` and ``function_call`` are the older form of ``tools`` and ``tool_choice``.

    Raises:
        InvalidArgumentError: They contradict each other, or name an unknown tool.
        GrammarError: A JSON schema is none, or asks for what no grammar can say.
    """
    if functions is not None and tools is None:
        tools = [{"type": "function", "function": each} for each in _listed(functions, "functions")]
        tool_choice = function_call
    checked = _checked_tools(tools)
    choice, checked = _chosen(tool_choice, checked)
    schema, strict = response_schema(response_format)
    if grammar is not None and (schema is not None or checked):
        other = "a response_format" if schema is not None else "tools"
        raise InvalidArgumentError(f"give a grammar or {other}, not both")
    if choice == "required" and schema is not None:
        raise InvalidArgumentError(
            "a call is demanded (tool_choice), so the reply cannot have a response_format too"
        )
    return ReplyForm(checked, choice, bool(parallel_tool_calls), schema, grammar, strict)


def _listed(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidArgumentError(f"{name} must be a list, not {value!r}")
    return value


def _checked_tools(tools: Any) -> list[dict[str, Any]]:
    checked: list[dict[str, Any]] = []
    for index, tool in enumerate(_listed([] if tools is None else tools, "tools")):
        where = f"tools[{index}]"
        function = tool.get("function") if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
            raise InvalidArgumentError(
                f'{where} must be a dict like {{"type": "function", "function": {{"name": "f", '
                f'"description": "...", "parameters": {{...}}}}}}, not {tool!r}'
            )
        if name in [each["function"]["name"] for each in checked]:
            raise InvalidArgumentError(f"{where} has the name {name!r}, as another tool has")
        cleaned = {key: value for key, value in function.items() if value is not None}
        if "parameters" in cleaned:
            cleaned["parameters"] = check_json_schema(
                cleaned["parameters"], f"{where}.function.parameters",
                allow_unsupported=not function.get("strict"),
            )  # fmt: skip
        checked.append({"type": "function", "function": cleaned})
    return checked


def _chosen(choice: Any, tools: list[dict[str, Any]]) -> tuple[ToolChoice, list[dict[str, Any]]]:
    """The kind of choice, and the tools that are left by it."""
    if isinstance(choice, Mapping):
        function = choice.get("function", choice)
        name = function.get("name") if isinstance(function, Mapping) else None
        named = [tool for tool in tools if tool["function"]["name"] == name]
        if not named:
            known = ", ".join(repr(tool["function"]["name"]) for tool in tools) or "none"
            raise InvalidArgumentError(f"tool_choice={choice!r} names no tool: there are {known}")
        return "required", named
    if choice not in (None, "auto", "required", "none"):
        raise InvalidArgumentError(
            f'tool_choice={choice!r} must be "auto", "required", "none" or like '
            '{"type": "function", "function": {"name": "f"}}'
        )
    if choice == "required" and not tools:
        raise InvalidArgumentError('tool_choice="required" needs tools')
    if choice == "none" or not tools:
        return "none", []
    return choice or "auto", tools


def response_schema(response_format: Any) -> tuple[Mapping[str, Any] | None, bool]:
    """Return the JSON schema of a ``response_format``, or None where any text will do.

    The second says whether it is strict: what cannot be enforced is an error then.

    Raises:
        InvalidArgumentError: It is of an unknown type.
        GrammarError: Its schema is none, or asks for what no grammar can say.
    """
    if not isinstance(response_format, Mapping | None):
        raise InvalidArgumentError(
            f'response_format={response_format!r} must be a dict like {{"type": "json_object"}}'
        )
    kind = None if response_format is None else response_format.get("type", "text")
    if response_format is None or kind == "text":
        return None, False
    holder = response_format.get("json_schema") if kind == "json_schema" else response_format
    if kind not in ("json_object", "json_schema") or not isinstance(holder, Mapping):
        raise _unknown_format(response_format)
    schema = holder.get("schema")
    if schema is None:
        if kind == "json_schema":
            raise _unknown_format(response_format)
        return _ANY_OBJECT, False
    strict = holder.get("strict") is True
    # The engine takes an empty schema for none.
    if schema == {}:
        return (_ANY_OBJECT if kind == "json_object" else ANY_VALUE), strict
    if not isinstance(schema, Mapping):
        raise _unknown_format(response_format)
    json_schema(schema, strict=strict)
    return schema, strict


_ANY_OBJECT = {"type": "object"}
ANY_VALUE = {"type": ["object", "array", "string", "number", "boolean", "null"]}


def _unknown_format(response_format: Any) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"response_format={response_format!r} is none of the types text, json_object and "
        'json_schema (with {"json_schema": {"schema": ...}})'
    )
