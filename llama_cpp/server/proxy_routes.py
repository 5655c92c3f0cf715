"""Routes over a ``LlamaProxy``, for applications that put llama-cpp-python's together themselves.

``create_app`` does not use them: it decodes requests together, these take one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Body, Depends, FastAPI, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import InvalidArgumentError
from ..llama import Llama
from .arguments import chatting, completing, generating
from .encoding import JSONAnswer, encoded, event
from .errors import RequestError, install, route_path
from .middleware import is_known
from .model import LlamaProxy
from .settings import ModelSettings, ServerSettings
from .stream import DONE, EventStream
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

_server_settings: ServerSettings | None = None
_llama_proxy: LlamaProxy | None = None
_ping_message_factory: Callable[[], bytes] | None = None
llama_outer_lock = asyncio.Lock()
llama_inner_lock = asyncio.Lock()  # there is one model at a time: the outer one is enough
_QUIET_SECONDS = 15.0


def set_server_settings(server_settings: ServerSettings) -> None:
    """Set what ``get_server_settings`` gives."""
    global _server_settings
    _server_settings = server_settings


def get_server_settings() -> Iterator[ServerSettings | None]:
    """Give the settings, as a dependency of a route."""
    yield _server_settings


def set_llama_proxy(model_settings: list[ModelSettings] | LlamaProxy) -> None:
    """Load the first of some models, for ``get_llama_proxy``; or have it give models that exist."""
    global _llama_proxy
    if isinstance(model_settings, LlamaProxy):
        _llama_proxy = model_settings
    else:
        _llama_proxy = LlamaProxy(models=model_settings)


async def get_llama_proxy() -> AsyncIterator[LlamaProxy]:
    """Give the models to one request at a time, as a dependency of a route.

    Raises:
        InvalidArgumentError: ``set_llama_proxy`` was not called.
    """
    if _llama_proxy is None:
        raise InvalidArgumentError("there are no models: call set_llama_proxy first")
    async with llama_outer_lock:
        yield _llama_proxy


def set_ping_message_factory(factory: Callable[[], bytes]) -> None:
    """Set what is sent in quiet streams."""
    global _ping_message_factory
    _ping_message_factory = factory


_one_proxy = asynccontextmanager(get_llama_proxy)


@asynccontextmanager
async def _given(llama_proxy: Any) -> AsyncIterator[Any]:
    """The models that a route was given; called by hand, without them, it takes those there are."""
    if callable(llama_proxy):
        yield llama_proxy
        return
    async with _one_proxy() as proxy:
        yield proxy


bearer_scheme = HTTPBearer(auto_error=False)


async def authenticate(
    settings: Any = Depends(get_server_settings),  # noqa: B008 - that is how FastAPI is told
    authorization: Any = Depends(bearer_scheme),  # noqa: B008
) -> bool:
    """Let a request in that has a key of the settings, or any where there is none.

    Raises:
        RequestError: It has none of them.
    """
    keys = settings.keys if settings is not None else []
    sent = (
        authorization.credentials
        if isinstance(authorization, HTTPAuthorizationCredentials)
        else str(authorization or "")
    )
    if keys and not is_known(sent, keys):
        raise RequestError(401, "a valid API key is needed", code="invalid_api_key")
    return True


async def prepare_request_resources(
    body: CreateCompletionRequest | CreateChatCompletionRequest,
    llama_proxy: LlamaProxy,
    body_model: str | None,
    kwargs: dict[str, Any],
) -> Llama:
    """Fill the arguments of a request in, and return the model that it is for."""
    llama = llama_proxy(body_model)
    kwargs.update(generating(llama, body))
    return llama


async def get_event_publisher(
    request: Request,
    inner_send_chan: Any,
    body: CreateCompletionRequest | CreateChatCompletionRequest,
    body_model: str | None,
    llama_call: Callable[..., Any],
    kwargs: dict[str, Any],
) -> None:
    """Send the chunks of a call into a channel, as the data of events.

    Args:
        request: Is asked whether its client has left.
        inner_send_chan: A sending end of anyio.
        body: The request's.
        body_model: The model that it names.
        llama_call: ``Llama.create_completion`` or the like.
        kwargs: Its arguments.
    """
    async with inner_send_chan:
        chunks = await asyncio.to_thread(lambda: llama_call(**{**kwargs, "stream": True}))
        ended = object()
        while (chunk := await asyncio.to_thread(next, chunks, ended)) is not ended:
            if await request.is_disconnected():
                chunks.close()
                return
            await inner_send_chan.send({"data": encoded(chunk).decode()})
        await inner_send_chan.send({"data": "[DONE]"})


async def _answer(call: Callable[..., Any], kwargs: dict[str, Any], stream: bool) -> Response:
    if not stream:
        return JSONAnswer(await asyncio.to_thread(lambda: call(**kwargs)))
    chunks = await asyncio.to_thread(lambda: call(**kwargs, stream=True))
    ended = object()

    async def parts() -> AsyncIterator[bytes]:
        try:
            while True:
                coming = asyncio.ensure_future(asyncio.to_thread(next, chunks, ended))
                while _ping_message_factory is not None:
                    if (await asyncio.wait({coming}, timeout=_QUIET_SECONDS))[0]:
                        break
                    yield _ping_message_factory()
                if (chunk := await coming) is ended:
                    break
                yield event(chunk)
            yield DONE
        finally:
            chunks.close()

    return EventStream(parts())


async def create_completion(
    request: Request,
    body: CreateCompletionRequest,
    llama_proxy: Any = Depends(get_llama_proxy),  # noqa: B008
) -> Response:
    """Complete one or more prompts."""
    async with _given(llama_proxy) as proxy:
        llama = proxy(body.model)
        return await _answer(llama.create_completion, completing(llama, body), bool(body.stream))


async def create_chat_completion(
    request: Request,
    body: CreateChatCompletionRequest = Body(),  # noqa: B008
    llama_proxy: Any = Depends(get_llama_proxy),  # noqa: B008
) -> Response:
    """Answer the last message of a conversation."""
    async with _given(llama_proxy) as proxy:
        llama = proxy(body.model)
        return await _answer(llama.create_chat_completion, chatting(llama, body), bool(body.stream))


async def create_embedding(
    request: CreateEmbeddingRequest,
    llama_proxy: Any = Depends(get_llama_proxy),  # noqa: B008
) -> Any:
    """Embed one or more texts."""
    llama = llama_proxy(request.model)
    return await asyncio.to_thread(lambda: llama.create_embedding(request.input, request.model))


async def get_models(llama_proxy: Any = Depends(get_llama_proxy)) -> ModelList:  # noqa: B008
    """List the models."""
    data: Any = [
        {"id": name, "object": "model", "created": 0, "owned_by": "me", "permissions": [],
         "meta": {}}
        for name in llama_proxy
    ]  # fmt: skip
    return {"object": "list", "data": data}


async def tokenize(
    body: TokenizeInputRequest,
    llama_proxy: Any = Depends(get_llama_proxy),  # noqa: B008
) -> TokenizeInputResponse:
    """Split a text into token ids."""
    text = body.input.encode("utf-8", "surrogatepass")
    return TokenizeInputResponse(tokens=llama_proxy(body.model).tokenize(text, special=True))


async def count_query_tokens(
    body: TokenizeInputRequest,
    llama_proxy: Any = Depends(get_llama_proxy),  # noqa: B008
) -> TokenizeInputCountResponse:
    """Count the tokens of a text."""
    return TokenizeInputCountResponse(count=len((await tokenize(body, llama_proxy)).tokens))


async def detokenize(
    body: DetokenizeInputRequest,
    llama_proxy: Any = Depends(get_llama_proxy),  # noqa: B008
) -> DetokenizeInputResponse:
    """Join token ids to a text."""
    text = llama_proxy(body.model).detokenize(body.tokens).decode("utf-8", "replace")
    return DetokenizeInputResponse(text=text)


router = APIRouter()
"""These routes, for an application of somebody's own."""
for _path, _method, _route in (
    ("/v1/completions", "POST", create_completion),
    ("/v1/chat/completions", "POST", create_chat_completion),
    ("/v1/embeddings", "POST", create_embedding),
    ("/v1/models", "GET", get_models),
    ("/extras/tokenize", "POST", tokenize),
    ("/extras/tokenize/count", "POST", count_query_tokens),
    ("/extras/detokenize", "POST", detokenize),
):
    router.add_api_route(_path, _route, methods=[_method], response_model=None)


class OverriddenProxy:
    """Has these routes answer where a test, or a program, overrides ``get_llama_proxy``.

    Args:
        app: What answers else.
        application: Whose ``dependency_overrides`` count.
    """

    def __init__(self, app: ASGIApp, application: FastAPI) -> None:
        self._app = app
        self._application = application
        self._paths = {route.path for route in router.routes if isinstance(route, APIRoute)}
        self._routes = FastAPI()
        self._routes.include_router(router)
        install(self._routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request."""
        overrides = self._application.dependency_overrides
        is_ours = scope["type"] == "http" and route_path(scope) in self._paths
        if get_llama_proxy not in overrides or not is_ours:
            await self._app(scope, receive, send)
            return
        self._routes.dependency_overrides = overrides
        await self._routes(scope, receive, send)
