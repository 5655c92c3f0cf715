"""``/v1/embeddings`` and ``/v1/rerank``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ...errors import ContextWindowError
from ...llama import Llama
from ..context import Context, ServerContext
from ..errors import RequestError
from ..json_body import JSONBodyRoute
from ..stream import answered
from ..types import CreateEmbeddingRequest, RerankRequest

router = APIRouter(tags=["OpenAI V1"], route_class=JSONBodyRoute)


async def _computed(
    request: Request,
    context: ServerContext,
    model: str | None,
    call: Callable[[Llama], Any],
    *,
    texts: str,
) -> Response:
    async def work() -> Any:
        record = context.noted(request, model)
        async with context.registry.lease(model) as runner:
            try:
                answer = await runner.compute(lambda: call(runner.llama))
            except ContextWindowError as error:
                raise RequestError(
                    400, str(error), param=texts, code="context_length_exceeded"
                ) from error
            record.input_tokens = answer["usage"]["prompt_tokens"]
            return answer

    return await answered(request, work())


@router.post("/v1/embeddings", summary="Embed texts")
async def create_embedding(
    request: Request, body: CreateEmbeddingRequest, context: Context
) -> Response:
    """Embed one or more texts."""
    name = context.registry.name_of(body.model)
    return await _computed(
        request, context, body.model,
        lambda llama: llama.create_embedding(
            body.input, name, dimensions=body.dimensions,
            encoding_format=body.encoding_format or "float", truncate=body.cut,
        ),
        texts="input",
    )  # fmt: skip


@router.post("/v1/rerank", summary="Order documents by a query")
@router.post("/rerank", include_in_schema=False)
async def rerank(request: Request, body: RerankRequest, context: Context) -> Response:
    """Order documents by how well they answer a query."""
    texts = [_text(document) for document in body.documents]

    def call(llama: Llama) -> Any:
        answer = llama.rerank(
            body.query, texts, body.top_n, return_documents=bool(body.return_documents),
            truncate=body.truncate is not False,
        )  # fmt: skip
        return {**answer, "model": body.model or answer["model"]}

    return await _computed(request, context, body.model, call, texts="documents")


def _text(document: str | dict[str, Any]) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise RequestError(400, "a document is a text, or has one", param="documents")
    return text
