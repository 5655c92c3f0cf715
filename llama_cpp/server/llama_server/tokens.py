"""Tokenizing and its reverse, in llama-cpp-python's shape and in llama-server's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ..context import Context
from ..json_body import JSONBodyRoute
from ..types import (
    DetokenizeInputRequest,
    DetokenizeInputResponse,
    DetokenizeRequest,
    TokenizeInputCountResponse,
    TokenizeInputRequest,
    TokenizeInputResponse,
    TokenizeRequest,
)

router = APIRouter(tags=["Extras"], route_class=JSONBodyRoute)


@router.post("/extras/tokenize", summary="Tokenize")
async def tokenize(body: TokenizeInputRequest, context: Context) -> TokenizeInputResponse:
    """Split a text into token ids."""
    tokens = await _tokens(context, body.model, body.input, add_bos=True, special=True)
    return TokenizeInputResponse(tokens=tokens)


@router.post("/extras/tokenize/count", summary="Count tokens")
async def count_query_tokens(
    body: TokenizeInputRequest, context: Context
) -> TokenizeInputCountResponse:
    """Count the tokens of a text."""
    tokens = await _tokens(context, body.model, body.input, add_bos=True, special=True)
    return TokenizeInputCountResponse(count=len(tokens))


@router.post("/extras/detokenize", summary="Detokenize")
async def detokenize(body: DetokenizeInputRequest, context: Context) -> DetokenizeInputResponse:
    """Join token ids to a text."""
    return DetokenizeInputResponse(text=await _text(context, body.model, body.tokens))


@router.post("/tokenize", summary="Tokenize, as llama-server does")
async def tokenize_content(body: TokenizeRequest, context: Context) -> dict[str, Any]:
    """Split a text into token ids, with their texts if wanted."""
    tokens = await _tokens(
        context, body.model, body.content, add_bos=body.add_special, special=body.parse_special
    )
    if not body.with_pieces:
        return {"tokens": tokens}
    async with context.registry.lease(body.model) as runner:
        llama = runner.llama
        pieces = await runner.in_thread(
            lambda: [
                {"id": token, "piece": llama.detokenize([token]).decode("utf-8", "replace")}
                for token in tokens
            ]
        )
    return {"tokens": pieces}


@router.post("/detokenize", summary="Detokenize, as llama-server does")
async def detokenize_content(body: DetokenizeRequest, context: Context) -> dict[str, str]:
    """Join token ids to a text."""
    return {"content": await _text(context, body.model, body.tokens)}


async def _tokens(
    context: Context, model: str | None, text: str, *, add_bos: bool, special: bool
) -> list[int]:
    async with context.registry.lease(model) as runner:
        llama, data = runner.llama, text.encode("utf-8", "surrogatepass")
        return await runner.in_thread(
            lambda: llama.tokenize(data, add_bos=add_bos, special=special)
        )


async def _text(context: Context, model: str | None, tokens: list[int]) -> str:
    async with context.registry.lease(model) as runner:
        joined = await runner.in_thread(lambda: runner.llama.detokenize(tokens))
        return joined.decode("utf-8", "replace")
