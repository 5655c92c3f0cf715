"""``/v1/messages`` and ``/v1/messages/count_tokens``: Anthropic's shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from ...llama import Llama
from ..arguments import chat_job, serving
from ..chunk_builder import built_events, written
from ..context import Context
from ..encoding import event
from ..errors import ErrorResponse, anthropic_shape
from ..generation import PolledJob
from ..json_body import JSONBodyRoute
from ..stream import answered
from ..types import Body, Integer, Number, Serving, Share, Stops
from .shapes import (
    MessageBuilder,
    chat_response_format,
    chat_thinking,
    chat_tool_choice,
    chat_tools,
    conversation,
)

router = APIRouter(tags=["Anthropic"], route_class=JSONBodyRoute)


class CountTokensRequest(Body):
    """The body of ``/v1/messages/count_tokens``."""

    model: str | None = None
    messages: list[dict[str, Any]] = Field(min_length=1)
    system: str | list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    output_format: dict[str, Any] | None = Field(
        None, description="The older place of output_config.format."
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"messages": [{"role": "user", "content": "Hi."}]}]}
    )


class CreateMessageRequest(CountTokensRequest, Serving):
    """The body of ``/v1/messages``."""

    max_tokens: Annotated[Integer, Field(ge=1)]
    metadata: dict[str, Any] | None = None
    stop_sequences: Stops | None = None
    stream: bool | None = False
    temperature: Number | None = Field(None, ge=0)
    top_k: Integer | None = None
    top_p: Share | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"max_tokens": 32, "messages": [{"role": "user", "content": "Hi."}]}]
        }
    )


def _arguments(body: CountTokensRequest) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "messages": conversation(body.system, body.messages),
        "tools": chat_tools(body.tools),
        "tool_choice": chat_tool_choice(body.tool_choice),
        "stream_options": {"include_usage": True},
    }
    last = arguments["messages"][-1]
    if last["role"] == "assistant" and not last.get("tool_calls"):
        arguments["continue_final_message"] = True  # the reply goes on from there
    if (body.tool_choice or {}).get("disable_parallel_tool_use"):
        arguments["parallel_tool_calls"] = False
    form = (body.output_config or {}).get("format") or body.output_format
    if form is not None:
        arguments["response_format"] = chat_response_format(form)
    if body.thinking is not None:
        arguments |= chat_thinking(body.thinking)
    return arguments


@router.post("/v1/messages", summary="Answer, in the shape of the messages API")
async def create_message(
    request: Request, body: CreateMessageRequest, context: Context
) -> Response:
    """Answer a conversation."""
    name = context.registry.name_of(body.model)
    arguments = {
        **_arguments(body), "max_tokens": context.capped(body.max_tokens), "model": name,
        "stop": body.stop_sequences or [], **serving(body),
    }  # fmt: skip
    for field in ("temperature", "top_k", "top_p"):
        if getattr(body, field) is not None:
            arguments[field] = getattr(body, field)
    jobs: list[Any] = []

    def call(llama: Llama) -> PolledJob:
        jobs.append(chat_job(llama, arguments))
        job: PolledJob = jobs[0]
        return job

    def stop_string() -> str | None:
        found: str | None = jobs[0].begin().choices[0].builder.stop_string
        return found if found in (body.stop_sequences or ()) else None

    builder = MessageBuilder(name, stop_string)

    def events(parts: AsyncIterator[list[Any]]) -> AsyncIterator[bytes]:
        opening = builder.begin(len(jobs[0].prompt))
        return built_events(opening, builder, parts, written([{"type": "ping"}]))

    def failed(status: int, error: ErrorResponse) -> bytes:
        return event(anthropic_shape(error, status), "error")

    return await context.generate(
        request, body.model, call, stream=bool(body.stream), shape=builder.whole, events=events,
        failed=failed,
    )  # fmt: skip


@router.post("/v1/messages/count_tokens", summary="Count the tokens of a conversation")
async def count_tokens(request: Request, body: CountTokensRequest, context: Context) -> Response:
    """Count the tokens that a conversation would be sent to the model as."""
    arguments = _arguments(body)

    async def work() -> dict[str, int]:
        async with context.registry.lease(body.model) as runner:
            llama = runner.llama
            count = await runner.in_thread(lambda: len(chat_job(llama, arguments).prompt))
            return {"input_tokens": count}

    return await answered(request, work())
