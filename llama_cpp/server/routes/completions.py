"""``/v1/completions`` and ``/v1/chat/completions``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ...llama import Llama
from ..arguments import generating
from ..context import Context
from ..running import PolledJob
from ..types import CreateChatCompletionRequest, CreateCompletionRequest

router = APIRouter(tags=["OpenAI V1"])

_CHAT = (
    "functions", "function_call", "tools", "tool_choice", "parallel_tool_calls",
    "response_format", "reasoning_format", "enable_thinking", "chat_template_kwargs",
    "continue_final_message", "logprobs", "top_logprobs",
)  # fmt: skip


@router.post("/v1/completions", summary="Complete a text")
@router.post("/v1/engines/copilot-codex/completions", include_in_schema=False)
async def create_completion(
    request: Request, body: CreateCompletionRequest, context: Context
) -> Response:
    """Complete one or more prompts."""
    name = context.registry.find(body.model).names[0]

    def call(llama: Llama) -> PolledJob:
        arguments = {
            **generating(llama, body),
            "prompt": body.prompt,
            "suffix": body.suffix,
            "max_tokens": context.capped(16 if body.max_tokens is None else body.max_tokens),
            "echo": bool(body.echo),
            "logprobs": body.logprobs,
            "model": body.model or name,
        }
        return llama.completion_job(**arguments)

    return await context.generate(request, body.model, call, stream=bool(body.stream))


def chat_arguments(
    llama: Llama, body: CreateChatCompletionRequest, context: Context
) -> dict[str, Any]:
    """The arguments of ``create_chat_completion``."""
    arguments = {
        **generating(llama, body),
        **{name: value for name in _CHAT if (value := getattr(body, name)) is not None},
        "messages": body.messages,
    }
    asked = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    arguments["max_tokens"] = context.capped(asked)
    if body.reasoning_effort is not None and body.enable_thinking is None:
        arguments["enable_thinking"] = body.reasoning_effort != "none"
        kwargs = {"reasoning_effort": body.reasoning_effort}
        arguments["chat_template_kwargs"] = {**kwargs, **(body.chat_template_kwargs or {})}
    return arguments


@router.post("/v1/chat/completions", summary="Answer a conversation")
async def create_chat_completion(
    request: Request, body: CreateChatCompletionRequest, context: Context
) -> Response:
    """Answer the last message of a conversation."""
    name = context.registry.find(body.model).names[0]

    def call(llama: Llama) -> PolledJob:
        arguments = chat_arguments(llama, body, context)
        return llama.chat_job(**arguments, model=body.model or name)

    return await context.generate(request, body.model, call, stream=bool(body.stream))
