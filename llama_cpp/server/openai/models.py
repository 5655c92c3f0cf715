"""``/v1/models``: which models there are."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from ..context import Context, ServerContext
from ..errors import RequestError
from ..settings import ModelSettings
from ..types import ModelData, ModelList

router = APIRouter(tags=["OpenAI V1"])

_STARTED = int(time.time())


@router.get("/v1/models", summary="List models")
async def get_models(context: Context) -> ModelList:
    """List the models, by all of their names."""
    models = context.registry.models
    data = [_described(context, name, each) for each in models for name in each.names]
    return {"object": "list", "data": data}


@router.get("/v1/models/{model:path}", summary="Describe a model")
async def get_model(model: str, context: Context) -> ModelData:
    """Describe one model."""
    for settings in context.registry.models:
        if model in settings.names:
            return _described(context, model, settings)
    raise RequestError(
        404, f"The model {model!r} does not exist", param="model", code="model_not_found"
    )


def _described(context: ServerContext, name: str, settings: ModelSettings) -> ModelData:
    runner = context.registry.runners.get(settings.names[0])
    meta: dict[str, Any] = {"loaded": runner is not None}
    if runner is not None:
        model = runner.llama.weights
        meta |= {
            "n_vocab": model.n_vocab,
            "n_ctx": runner.llama.n_ctx() if not settings.vocab_only else 0,
            "n_ctx_train": model.n_ctx_train,
            "n_embd": model.n_embd,
            "n_params": model.n_params,
            "size": model.size,
        }
    return {
        "id": name, "object": "model", "created": _STARTED, "owned_by": "me", "permissions": [],
        "meta": meta,
    }  # fmt: skip
