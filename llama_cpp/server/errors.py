"""What goes wrong, as OpenAI's error object with the right status."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from typing_extensions import NotRequired, TypedDict

from .. import errors
from .advice import for_client
from .encoding import JSONAnswer
from .types import CreateChatCompletionRequest, CreateCompletionRequest, CreateEmbeddingRequest

__all__ = [
    "CreateChatCompletionRequest",
    "CreateCompletionRequest",
    "CreateEmbeddingRequest",
    "ErrorResponse",
    "ErrorResponseFormatters",
    "RequestError",
    "RouteErrorHandler",
]

_LOGGER = logging.getLogger("llama_cpp.server")


class ErrorResponse(TypedDict):
    """OpenAI's error object, with llama-server's counts where a prompt does not fit."""

    message: str
    type: str
    param: str | None
    code: str | None
    n_prompt_tokens: NotRequired[int]
    n_ctx: NotRequired[int]


class ErrorBody(TypedDict):
    """The body of an answer to what went wrong."""

    error: ErrorResponse


class RequestError(Exception):
    """A request that is refused.

    Args:
        status: Of HTTP.
        message: What was wrong, what was expected and what to do.
        param: The field that is to blame.
        code: OpenAI's code.
        headers: Of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = headers


def server_ends() -> RequestError:
    """What is left to say when the time to finish is over."""
    return RequestError(503, "the server ends, and its time to finish what runs is over")


_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "service_unavailable_error",
}  # fmt: skip

_CALLERS_FAULT = (
    errors.InvalidArgumentError, errors.GrammarError, errors.ChatTemplateError,
    errors.ChatParseError,
)  # fmt: skip
_UNAVAILABLE = (
    errors.ClosedError, errors.BusyError, errors.OutOfMemoryError, errors.NoKVSlotError,
    errors.DecodeAbortedError,
)  # fmt: skip


def described(error: BaseException) -> tuple[int, ErrorResponse, Mapping[str, str]]:
    """Return status, error object and headers for whatever went wrong."""
    param = code = None
    headers: Mapping[str, str] = {}
    message = for_client(error) if isinstance(error, errors.LlamaError) else str(error)
    if isinstance(error, RequestError):
        status, param, code, headers = error.status, error.param, error.code, error.headers or {}
    elif isinstance(error, errors.ContextWindowError):
        status, code, param = 400, "context_length_exceeded", "messages"
    elif isinstance(error, _UNAVAILABLE):
        status = 503
    elif isinstance(error, _CALLERS_FAULT) and not isinstance(error, errors.LogitsProcessorError):
        status = 400
        found = re.match(r"([a-z_]+)(\[\d+\])*=", message)
        param = found[1] if found else None
    elif isinstance(error, RequestValidationError):
        status = 400
        param, message = _first_problem(error)
    elif isinstance(error, HTTPException):
        status, message, headers = error.status_code, str(error.detail), error.headers or {}
    elif isinstance(error, errors.ModelNotFoundError):
        status, message = 503, "the model's file is not there any more"
    else:
        _LOGGER.error("a request failed", exc_info=error)
        status, message = 500, "the server failed to answer; its log says why"
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    told: ErrorResponse = {"message": message, "type": kind, "param": param, "code": code}
    too_long = error.__cause__ if isinstance(error, RequestError) else error
    if isinstance(too_long, errors.ContextWindowError) and too_long.n_tokens and too_long.n_ctx:
        told |= {"n_prompt_tokens": too_long.n_tokens, "n_ctx": too_long.n_ctx}
    return status, told, headers


def _first_problem(error: RequestValidationError) -> tuple[str | None, str]:
    problem = error.errors()[0]
    place = [str(part) for part in problem["loc"] if part != "body"]
    if problem["type"] == "json_invalid":
        return None, f"the body is no JSON: {problem.get('ctx', {}).get('error', problem['msg'])}"
    # Which form of a union was meant is not known: its name says nothing to the caller.
    names = [part for part in place if re.fullmatch(r"[a-z_0-9]+", part)]
    where = ".".join(names)
    return (names[0] if names else None), f"{where or 'the body'}: {problem['msg']}"


def anthropic_shape(error: ErrorResponse, status: int) -> dict[str, Any]:
    """An error as the messages API tells it."""
    kinds = {429: "rate_limit_error", 503: "overloaded_error", 500: "api_error"}
    kind = kinds.get(status, error["type"])
    return {"type": "error", "error": {"type": kind, "message": error["message"]}}


def route_path(scope: Mapping[str, Any]) -> str:
    """The path of a request without what a proxy strips."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def respond(error: BaseException, path: str = "") -> Response:
    """Make the response of a request that failed."""
    status, body, headers = described(error)
    is_anthropic = path.startswith("/v1/messages")
    content = anthropic_shape(body, status) if is_anthropic else {"error": body}
    return JSONAnswer(content, status, headers=dict(headers))


def install(app: FastAPI) -> None:
    """Have an application answer failures in OpenAI's shape."""

    async def handle(request: Request, error: Exception) -> Response:
        return respond(error, route_path(request.scope))

    for kind in (RequestError, errors.LlamaError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)


class ErrorResponseFormatters:
    """Error objects for failures that were noticed by their messages."""

    @staticmethod
    def context_length_exceeded(
        request: CreateCompletionRequest | CreateChatCompletionRequest, match: Any
    ) -> tuple[int, ErrorResponse]:
        """A prompt that is too long; the match has the limit and the tokens, in that order."""
        limit, prompt = int(match.group(2)), int(match.group(1))
        return 400, {
            "message": f"This model's maximum context length is {limit} tokens, however you "
            f"requested {prompt} tokens. Please reduce the length of the prompt.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }

    @staticmethod
    def model_not_found(
        request: CreateCompletionRequest | CreateChatCompletionRequest, match: Any
    ) -> tuple[int, ErrorResponse]:
        """A model file that is not there; the match has its path."""
        return 400, {
            "message": f"The model `{match.group(1)}` does not exist",
            "type": "invalid_request_error",
            "param": None,
            "code": "model_not_found",
        }


class RouteErrorHandler(APIRoute):
    """A route that answers failures in OpenAI's shape, for applications of one's own."""

    def error_message_wrapper(
        self,
        error: Exception,
        body: CreateChatCompletionRequest
        | CreateCompletionRequest
        | CreateEmbeddingRequest
        | None = None,
    ) -> tuple[int, ErrorResponse]:
        """Return the status and the error object of a failure."""
        status, described_error, _ = described(error)
        return status, described_error

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the handler of the route, which raises nothing."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                return respond(error, route_path(request.scope))

        return handle
