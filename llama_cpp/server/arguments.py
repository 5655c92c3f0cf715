"""From the bodies of requests to the arguments of ``Llama``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..chat.completion import ChatCompletionJob
from ..chat.messages import response_schema
from ..errors import InvalidArgumentError
from ..generation.completion import CompletionJob
from ..llama import Llama
from ..sampling.hooks import LogitsProcessorList, MinTokensLogitsProcessor
from .logits_processors import named
from .types import (
    CreateChatCompletionRequest,
    CreateCompletionRequest,
    Generating,
    Sampling,
    Serving,
)

_NOT_SAMPLING = ("logit_bias", "logit_bias_type", "min_tokens", "lora")
_SAMPLING = tuple(name for name in Sampling.model_fields if name not in _NOT_SAMPLING)

_REPORTS = ("timings", "timings_per_token", "return_progress")


def serving(body: Serving) -> dict[str, Any]:
    """The arguments that say how a request is served."""
    return {
        name: value for name in Serving.model_fields if (value := getattr(body, name)) is not None
    }


def generating(llama: Llama, body: Generating) -> dict[str, Any]:
    """The arguments that completions and chats have in common.

    Raises:
        InvalidArgumentError: A key of ``logit_bias`` is no token, or there is no such processor.
    """
    arguments: dict[str, Any] = {
        name: value
        for name in (*_SAMPLING, *_REPORTS)
        if (value := getattr(body, name)) is not None
    }
    arguments |= serving(body)
    if arguments.get("seed", 0) < 0:
        del arguments["seed"]
    elif "seed" in arguments:
        arguments["seed"] %= 2**32 - 1
    if body.stop is not None:
        arguments["stop"] = body.stop
    if body.n is not None:
        arguments["n"] = body.n
    if body.lora is not None:
        arguments["lora"] = body.lora
    if body.grammar:
        arguments["grammar"] = body.grammar
    for name in ("regex", "choices", "lark"):
        if (value := getattr(body, name)) is not None:
            arguments[name] = value
    if body.stream_options is not None:
        arguments["stream_options"] = {"include_usage": bool(body.stream_options.include_usage)}
    if body.logit_bias:
        arguments["logit_bias"] = _bias(llama, body.logit_bias, body.logit_bias_type)
    processors = LogitsProcessorList()
    if body.logits_processor is not None:
        processors.append(named(llama.logits_processors, body.logits_processor))
    if body.min_tokens:
        processors.append(MinTokensLogitsProcessor(body.min_tokens, llama.token_eos()))
    if processors:
        arguments["logits_processor"] = processors
    return arguments


def _bias(llama: Llama, bias: Mapping[str, float], kind: str | None) -> dict[int, float]:
    by_id: dict[int, float] = {}
    for key, value in bias.items():
        if kind == "tokens":
            tokens = llama.tokenize(
                key.encode("utf-8", "surrogatepass"), add_bos=False, special=True
            )
            by_id.update(dict.fromkeys(tokens, value))
            continue
        try:
            by_id[int(key)] = value
        except ValueError:
            raise InvalidArgumentError(
                f"logit_bias={key!r} must be the id of a token, or logit_bias_type be tokens"
            ) from None
    return by_id


def completing(llama: Llama, body: CreateCompletionRequest) -> dict[str, Any]:
    """The arguments of ``create_completion``."""
    return {
        **generating(llama, body),
        "prompt": body.prompt,
        "suffix": body.suffix,
        "max_tokens": 16 if body.max_tokens is None else body.max_tokens,
        "echo": bool(body.echo),
        "logprobs": body.logprobs,
        "schema": body.json_schema,
    }


_CHAT = (
    "functions", "function_call", "tools", "tool_choice", "parallel_tool_calls",
    "response_format", "reasoning_format", "enable_thinking", "chat_template_kwargs",
    "continue_final_message", "logprobs", "top_logprobs", "reasoning_effort",
    "thinking_budget", "thinking_end_message",
)  # fmt: skip


def chatting(llama: Llama, body: CreateChatCompletionRequest) -> dict[str, Any]:
    """The arguments of ``create_chat_completion``."""
    asked = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    arguments = {
        **generating(llama, body),
        **{name: value for name in _CHAT if (value := getattr(body, name)) is not None},
        "messages": body.messages,
        "max_tokens": asked,
    }
    if body.json_schema is not None:
        if body.response_format is not None:
            raise InvalidArgumentError("give a json_schema or a response_format, not both")
        arguments["response_format"] = {"type": "json_object", "schema": body.json_schema}
    return arguments


def completion_job(llama: Llama, arguments: Mapping[str, Any]) -> CompletionJob:
    """Make a completion of its arguments."""
    options = {name: value for name, value in arguments.items() if name != "prompt"}
    params = llama.completions.params(**options)
    return llama.completions.job(arguments["prompt"], params)


def chat_job(llama: Llama, arguments: Mapping[str, Any]) -> ChatCompletionJob:
    """Make a chat completion of its arguments."""
    options = {name: value for name, value in arguments.items() if name != "messages"}
    # Clients send forms of OpenAI; what Python takes besides would put objects into answers.
    response_schema(options.get("response_format"))
    return llama.chats.job(arguments["messages"], llama.chats.params(**options))
