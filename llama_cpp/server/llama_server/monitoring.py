"""``/health``, ``/metrics``, ``/props`` and ``/slots``: how the server is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from ... import __version__
from ...engine.slots import Slot
from ..context import Context, ServerContext
from ..monitor import ModelLoad

router = APIRouter(tags=["Monitoring"])


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Whether the server answers")
@router.get("/v1/health", include_in_schema=False)
async def health() -> dict[str, str]:
    """Say that the server answers."""
    return {"status": "ok"}


@router.get("/metrics", summary="Metrics, for Prometheus", response_class=PlainTextResponse)
async def metrics(context: Context) -> Response:
    """Tell what was done, in Prometheus's text format."""
    return Response(context.monitor.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/slots", summary="What is decoded")
async def slots(context: Context) -> list[dict[str, Any]]:
    """List the sequences of all loaded models."""
    return [
        _described(name, runner.llama.n_ctx(), slot)
        for name, runner in context.registry.runners.items()
        if not runner.llama.vocab_only
        for slot in runner.llama.engine.slots
    ]


def _described(model: str, n_ctx: int, slot: Slot) -> dict[str, Any]:
    request = slot.request  # once: the engine goes on meanwhile
    return {
        "id": slot.id,
        "model": model,
        "is_processing": request is not None,
        "n_ctx": n_ctx,
        "n_tokens": slot.n_cached,
        "n_decoded": request.n_generated if request is not None else 0,
    }


@router.get("/props", summary="What a model is like")
async def props(context: Context, model: str | None = None) -> dict[str, Any]:
    """Describe a model, the default one if none is named, and the server."""
    settings = context.registry.find(model)
    async with context.registry.lease(model) as runner:
        llama = runner.llama
        return {
            "model_path": llama.model_path,
            "model_alias": settings.names[0],
            "total_slots": 0 if llama.vocab_only else len(llama.engine.slots),
            "default_generation_settings": {"n_ctx": 0 if llama.vocab_only else llama.n_ctx()},
            "chat_template": llama.metadata.get("tokenizer.chat_template", ""),
            "version": __version__,
        }


def loads(context: ServerContext) -> Iterator[ModelLoad]:
    """What each loaded model has to do."""
    for name, runner in context.registry.runners.items():
        slots = () if runner.llama.vocab_only else runner.llama.engine.slots
        processing = sum(slot.request is not None for slot in slots)
        yield ModelLoad(name, processing, max(0, runner.n_active - processing))
