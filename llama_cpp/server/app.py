"""``create_app``: the application, from its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.middleware.cors import CORSMiddleware

from .. import __version__
from ..compat.names import lookup as _lookup
from . import errors, page
from .anthropic import messages
from .context import ServerContext
from .environment import config_file_path
from .errors import ErrorBody, RouteErrorHandler
from .llama_server import monitoring, tokens
from .middleware import Gate
from .model import LlamaProxy, ModelRegistry, RegistryProxy
from .monitor import Monitor
from .openai import completions, embeddings, models, responses
from .proxy_routes import (
    OverriddenProxy,
    authenticate,
    count_query_tokens,
    create_chat_completion,
    create_completion,
    create_embedding,
    detokenize,
    get_event_publisher,
    get_llama_proxy,
    get_models,
    get_server_settings,
    prepare_request_resources,
    set_llama_proxy,
    set_ping_message_factory,
    set_server_settings,
    tokenize,
)
from .request_log import RequestLog
from .settings import ConfigFileSettings, ModelSettings, ServerSettings, Settings
from .tracing import tracer_of
from .types import (
    CreateChatCompletionRequest,
    CreateCompletionRequest,
    CreateEmbeddingRequest,
    DetokenizeInputRequest,
    DetokenizeInputResponse,
    ModelList,
    TokenizeInputCountResponse,
    TokenizeInputRequest,
    TokenizeInputResponse,
)

__all__ = [
    "ConfigFileSettings", "CreateChatCompletionRequest", "CreateCompletionRequest",
    "CreateEmbeddingRequest", "DetokenizeInputRequest", "DetokenizeInputResponse", "LlamaProxy",
    "ModelList", "ModelSettings", "RouteErrorHandler", "ServerSettings", "Settings",
    "TokenizeInputCountResponse", "TokenizeInputRequest", "TokenizeInputResponse", "authenticate",
    "count_query_tokens", "create_app", "create_chat_completion", "create_completion",
    "create_embedding", "detokenize", "extras_tag", "get_event_publisher", "get_llama_proxy",
    "get_models", "get_server_settings", "openai_v1_tag", "prepare_request_resources",
    "set_llama_proxy", "set_ping_message_factory", "set_server_settings", "tokenize",
]  # fmt: skip

openai_v1_tag = "OpenAI V1"
extras_tag = "Extras"


def create_app(
    settings: Settings | None = None,
    server_settings: ServerSettings | None = None,
    model_settings: list[ModelSettings] | None = None,
) -> FastAPI:
    """Make the application.

    The default model is loaded when the application starts; ``get_llama_proxy`` gives it before.

    Args:
        settings: Of the server and one model.
        server_settings: Of the server, in place of that.
        model_settings: Of the models, in place of that; the first one is the default. Without any
            of the three, the file that ``CONFIG_FILE`` names tells, or environment variables.

    Raises:
        ModelNotFoundError: The file of the default model is not there.
        InvalidArgumentError: The settings contradict each other, or let everybody in by mistake.
    """
    server, all_models = _chosen(settings, server_settings, model_settings)
    server.check_safe()
    monitor = Monitor(lambda: monitoring.loads(context))
    registry = ModelRegistry(server, all_models, monitor)
    registry.models[0].check_file()
    set_llama_proxy(RegistryProxy(registry))
    context = ServerContext(server, registry, monitor)
    tracer = tracer_of(server.otel)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await registry.begin()
        try:
            yield
        finally:
            await registry.close()
            if tracer is not None:
                await asyncio.to_thread(tracer.close)

    app = FastAPI(
        title="llama.cpp Python API",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's loads scripts from elsewhere; ours is in `page`
        redoc_url=None,
        # The gate checks keys; this has the document say so, and its page ask for one.
        dependencies=[Depends(HTTPBearer(auto_error=False))] if server.keys else [],
        responses={"4XX": {"description": "The request is refused", "model": ErrorBody}},
    )
    app.state.context = context
    errors.install(app)
    for module in (
        completions, responses, messages, embeddings, models, tokens, monitoring, page,
    ):  # fmt: skip
        app.include_router(module.router)
    if server.cors_allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=server.cors_allow_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID"],
        )
    app.add_middleware(OverriddenProxy, application=app)
    app.add_middleware(Gate, settings=server)
    app.add_middleware(RequestLog, logs=server.access_log, monitor=monitor, tracer=tracer)
    return app


def _chosen(
    settings: Settings | None,
    server: ServerSettings | None,
    models: Sequence[ModelSettings] | None,
) -> tuple[ServerSettings, Sequence[ModelSettings]]:
    if isinstance(server, ConfigFileSettings) and models is None:
        return server, server.models
    if settings is None and server is None and models is None and (path := config_file_path()):
        return _chosen(None, ConfigFileSettings.from_file(path), None)
    if settings is None and (server is None or models is None):
        settings = Settings()
    if settings is not None:
        own = settings.model_dump()
        server = server or ServerSettings.model_validate(own)
        models = models or [ModelSettings.model_validate(own)]
    assert server is not None and models is not None
    return server, models


# For scripts: see `compat.names`.
__getattr__ = _lookup(__name__)
