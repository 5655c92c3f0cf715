"""``/v1/responses``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from ...llama import Llama
from ..arguments import chat_job, serving
from ..chunk_builder import built_events, written
from ..context import Context
from ..errors import ErrorResponse, RequestError
from ..generation import PolledJob
from ..json_body import JSONBodyRoute
from ..stream import PING
from ..types import Integer, Number, Serving, Share
from .responses_events import ResponseBuilder
from .responses_request import chat_response_format, chat_tool_choice, chat_tools, conversation

router = APIRouter(tags=["OpenAI V1"], route_class=JSONBodyRoute)


class CreateResponseRequest(Serving):
    """The body of ``/v1/responses``."""

    model: str | None = None
    input: str | list[dict[str, Any]] = Field(description="A text, or items.")
    instructions: str | None = None
    max_output_tokens: Annotated[Integer, Field(ge=1)] | None = None
    metadata: dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    reasoning: dict[str, Any] | None = None
    store: bool | None = None
    stream: bool | None = False
    temperature: Number | None = Field(None, ge=0)
    text: dict[str, Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=100)] | None = None
    top_p: Share | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "Name a colour."}]})


@router.post("/v1/responses", summary="Answer, in the shape of the responses API")
async def create_response(
    request: Request, body: CreateResponseRequest, context: Context
) -> Response:
    """Answer a text or items; nothing is stored."""
    if body.previous_response_id is not None:
        raise RequestError(
            400, "responses are not stored: send the whole conversation as input",
            param="previous_response_id",
        )  # fmt: skip
    name = context.registry.name_of(body.model)
    arguments: dict[str, Any] = {
        "messages": conversation(body.input, body.instructions),
        "tools": chat_tools(body.tools),
        "tool_choice": chat_tool_choice(body.tool_choice),
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "response_format": chat_response_format(body.text),
        "max_tokens": context.capped(body.max_output_tokens),
        "model": name,
        "stream_options": {"include_usage": True},
    }
    for field in ("temperature", "top_p"):
        if getattr(body, field) is not None:
            arguments[field] = getattr(body, field)
    if body.top_logprobs:
        arguments |= {"logprobs": True, "top_logprobs": body.top_logprobs}
    if body.truncation == "auto":
        arguments["overflow"] = "trim"
    arguments |= serving(body)
    arguments["reasoning_effort"] = (body.reasoning or {}).get("effort")
    builder = ResponseBuilder(_echoed(body, name))

    def call(llama: Llama) -> PolledJob:
        return chat_job(llama, arguments)

    def events(parts: AsyncIterator[list[Any]]) -> AsyncIterator[bytes]:
        return built_events(builder.begin(), builder, parts, PING)

    def failed(status: int, error: ErrorResponse) -> bytes:
        return written(builder.fail(error))

    return await context.generate(
        request, body.model, call, stream=bool(body.stream), shape=builder.whole, events=events,
        failed=failed,
    )  # fmt: skip


def _echoed(body: CreateResponseRequest, model: str) -> dict[str, Any]:
    """What the response repeats of the request, with the defaults that counted."""
    return {
        "model": model,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **(body.reasoning or {})},
        "store": False,
        "temperature": 0.2 if body.temperature is None else body.temperature,
        "text": {"format": {"type": "text"}, **(body.text or {})},
        "tool_choice": body.tool_choice or "auto",
        "tools": [{"strict": False, "parameters": {}, **tool} for tool in body.tools or ()],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": 0.95 if body.top_p is None else body.top_p,
        "truncation": body.truncation or "disabled",
        "user": body.user,
    }
