"""What chat handlers for llama-cpp-python are written with: completions as chats, prompts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from ...constraints.gbnf import LlamaGrammar
from ...constraints.stock_grammars import JSON_GBNF
from ...errors import GrammarError
from ...llama_types import (
    CreateChatCompletionResponse,
    CreateChatCompletionStreamResponse,
    CreateCompletionResponse,
    CreateCompletionStreamResponse,
)
from ..reply import new_call_id

Completion = CreateCompletionResponse | Iterator[CreateCompletionStreamResponse]
Chat = CreateChatCompletionResponse | Iterator[CreateChatCompletionStreamResponse]

# Completions as chats.


def _convert_completion_to_chat(completion_or_chunks: Completion, stream: bool = False) -> Chat:
    """Turn a completion, or its chunks with ``stream``, into a chat completion."""
    if stream:
        return _chat_chunks(cast("Iterator[CreateCompletionStreamResponse]", completion_or_chunks))
    return _convert_text_completion_to_chat(cast("CreateCompletionResponse", completion_or_chunks))


def _convert_text_completion_to_chat(
    completion: CreateCompletionResponse,
) -> CreateChatCompletionResponse:
    """Turn a completion into a chat completion whose content is the text."""
    [choice] = completion["choices"][:1]
    message = {"role": "assistant", "content": choice["text"]}
    return _answer(completion, message, choice["finish_reason"])


def _chat_chunks(
    chunks: Iterable[CreateCompletionStreamResponse],
) -> Iterator[CreateChatCompletionStreamResponse]:
    for index, chunk in enumerate(chunks):
        if index == 0:
            yield _chunk(chunk, {"role": "assistant"})
        choice = chunk["choices"][0]
        reason = choice["finish_reason"]
        if choice["text"] or reason is None:
            yield _chunk(chunk, {"content": choice["text"]})
        if reason is not None:
            yield _chunk(chunk, {}, reason)


def _convert_completion_to_chat_function(
    tool_name: str, completion_or_chunks: Completion, stream: bool
) -> Chat:
    """Turn a completion, or its chunks, into a call of one tool with the text as its arguments."""
    if stream:
        chunks = cast("Iterator[CreateCompletionStreamResponse]", completion_or_chunks)
        return _call_chunks(tool_name, chunks)
    completion = cast("CreateCompletionResponse", completion_or_chunks)
    function = {"name": tool_name, "arguments": completion["choices"][0]["text"]}
    message = {
        "role": "assistant",
        "content": None,
        "function_call": function,
        "tool_calls": [{"id": new_call_id(), "type": "function", "function": function}],
    }
    return _answer(completion, message, "tool_calls")


def _call_chunks(
    tool_name: str, chunks: Iterator[CreateCompletionStreamResponse]
) -> Iterator[CreateChatCompletionStreamResponse]:
    call_id = new_call_id()
    first = next(chunks, None)
    if first is None:
        return
    yield _chunk(first, {"role": "assistant", "content": None})
    last = first
    for last in itertools.chain([first], chunks):
        function = {"name": tool_name, "arguments": last["choices"][0]["text"]}
        call = {"index": 0, "id": call_id, "type": "function", "function": function}
        yield _chunk(last, {"function_call": function, "tool_calls": [call]})
    yield _chunk(last, {}, "tool_calls")


def _answer(
    completion: CreateCompletionResponse, message: Mapping[str, Any], reason: str | None
) -> CreateChatCompletionResponse:
    choice = completion["choices"][0]
    chat = {
        "id": f"chat{completion['id']}",
        "object": "chat.completion",
        "created": completion["created"],
        "model": completion["model"],
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": choice["logprobs"],
                "finish_reason": reason,
            }
        ],
        "usage": completion["usage"],
    }
    return cast("CreateChatCompletionResponse", chat)


def _chunk(
    part: CreateCompletionStreamResponse, delta: Mapping[str, Any], reason: str | None = None
) -> CreateChatCompletionStreamResponse:
    chunk = {
        "id": f"chat{part['id']}",
        "object": "chat.completion.chunk",
        "created": part["created"],
        "model": part["model"],
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
    }
    return cast("CreateChatCompletionStreamResponse", chunk)


# Grammars.


def _grammar_for_json(verbose: bool = False) -> LlamaGrammar:
    """The grammar of any JSON."""
    return LlamaGrammar.from_string(JSON_GBNF, verbose)


def _grammar_for_json_schema(
    schema: str, verbose: bool = False, fallback: bool = True
) -> LlamaGrammar:
    """The grammar of a schema; with ``fallback`` that of any JSON, where there is none."""
    try:
        return LlamaGrammar.from_json_schema(schema, verbose)
    except GrammarError:
        if not fallback:
            raise
        return _grammar_for_json(verbose)


def _grammar_for_response_format(
    response_format: Mapping[str, Any], verbose: bool = False
) -> LlamaGrammar | None:
    """The grammar that a ``response_format`` asks for, or None."""
    if response_format["type"] != "json_object":
        return None
    if "schema" in response_format:
        return _grammar_for_json_schema(json.dumps(response_format["schema"]), verbose)
    return _grammar_for_json(verbose)


# Prompts. A message is a role, as it is written, and a text; None leaves the text to the model.

Turn = tuple[str, str | None]


def _get_system_message(messages: Sequence[Mapping[str, Any]]) -> str:
    """The content of the first system message, or nothing."""
    contents = (each.get("content") for each in messages if each["role"] == "system")
    return next(contents, "") or ""


def _map_roles(
    messages: Sequence[Mapping[str, Any]], role_map: Mapping[str, str]
) -> list[tuple[str, Any]]:
    """The messages whose roles are mapped, each with its new role."""
    return [
        (role_map[each["role"]], each.get("content"))
        for each in messages
        if each["role"] in role_map
    ]


def _format_llama2(system_message: str, messages: Sequence[Turn], sep: str, sep2: str) -> str:
    text = system_message + sep
    for index, (role, content) in enumerate(messages):
        if system_message and index == 0:
            text += (content or "") + sep
        elif content:
            text += f"{role}{content} {(sep, sep2)[index % 2]}"
        else:
            text += f"{role} "
    return text


def _format_add_colon_single(system_message: str, messages: Sequence[Turn], sep: str) -> str:
    return _format_add_colon_two(system_message, messages, sep, sep)


def _format_add_colon_two(
    system_message: str, messages: Sequence[Turn], sep: str, sep2: str
) -> str:
    text = system_message + sep
    for index, (role, content) in enumerate(messages):
        text += f"{role}: {content}{(sep, sep2)[index % 2]}" if content else f"{role}:"
    return text


def _format_no_colon_single(system_message: str, messages: Sequence[Turn], sep: str) -> str:
    return system_message + "".join(
        f"{role}{content}{sep}" if content else role for role, content in messages
    )


def _format_chatml(system_message: str, messages: Sequence[Turn], sep: str) -> str:
    text = f"{system_message}{sep}\n" if system_message else ""
    for role, content in messages:
        text += f"{role}\n{content}{sep}\n" if content else f"{role}\n"
    return text
