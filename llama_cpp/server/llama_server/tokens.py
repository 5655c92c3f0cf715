"""Tokenizing and its reverse, in llama-cpp-python's shape and in llama-server's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ...llama import Llama
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
    """Split a text, or texts among token ids, into token ids, with their pieces if wanted."""
    parts = [body.content] if isinstance(body.content, str) else body.content
    async with context.registry.lease(body.model) as runner:
        llama = runner.llama

        def split() -> list[Any]:
            tokens: list[int] = []
            for index, part in enumerate(parts):
                if isinstance(part, int):
                    tokens.append(part)
                    continue
                is_beginning = body.add_special and not index
                data = part.encode("utf-8", "surrogatepass")
                tokens += llama.tokenize(data, add_bos=is_beginning, special=body.parse_special)
            if not body.with_pieces:
                return tokens
            return [
                {"id": token, "piece": _text_or_bytes(_piece(llama, token))} for token in tokens
            ]

        return {"tokens": await runner.in_thread(split)}


@router.post("/detokenize", summary="Detokenize, as llama-server does")
async def detokenize_content(body: DetokenizeRequest, context: Context) -> dict[str, str]:
    """Join the pieces of token ids, those of special tokens too."""
    async with context.registry.lease(body.model) as runner:
        llama = runner.llama
        joined = await runner.in_thread(
            lambda: b"".join(_piece(llama, token) for token in body.tokens)
        )
    return {"content": joined.decode("utf-8", "replace")}


def _piece(llama: Llama, token: int) -> bytes:
    return llama.weights.vocab.token_to_piece(token, special=True)


def _text_or_bytes(piece: bytes) -> str | list[int]:
    """A piece as a text, or as numbers if it is only a part of a character."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)


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
