"""``/v1/completions`` and ``/v1/chat/completions``."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from ...llama import Llama
from ..arguments import chat_job, chatting, completing, completion_job
from ..context import Context
from ..generation import PolledJob
from ..json_body import JSONBodyRoute
from ..types import CreateChatCompletionRequest, CreateCompletionRequest

router = APIRouter(tags=["OpenAI V1"], route_class=JSONBodyRoute)


@router.post("/v1/completions", summary="Complete a text")
@router.post("/v1/engines/copilot-codex/completions", include_in_schema=False)
async def create_completion(
    request: Request, body: CreateCompletionRequest, context: Context
) -> Response:
    """Complete one or more prompts."""

    def call(llama: Llama) -> PolledJob:
        arguments = completing(llama, body)
        arguments["max_tokens"] = context.capped(arguments["max_tokens"])
        return completion_job(llama, {**arguments, "model": context.registry.name_of(body.model)})

    return await context.generate(request, body.model, call, stream=bool(body.stream))


@router.post("/v1/chat/completions", summary="Answer a conversation")
async def create_chat_completion(
    request: Request, body: CreateChatCompletionRequest, context: Context
) -> Response:
    """Answer the last message of a conversation."""

    def call(llama: Llama) -> PolledJob:
        arguments = chatting(llama, body)
        arguments["max_tokens"] = context.capped(arguments["max_tokens"])
        return chat_job(llama, {**arguments, "model": context.registry.name_of(body.model)})

    return await context.generate(request, body.model, call, stream=bool(body.stream))
