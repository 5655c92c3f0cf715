"""What every request passes: its host, its key, its size, headers for browsers."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import RequestError, respond, route_path, server_ends
from .request_record import record_of
from .settings import LOOPBACK, ServerSettings

_OPEN = ("/health", "/v1/health", "/", "/docs", "/openapi.json", "/favicon.ico")
_JSON = re.compile(r"application/([\w.-]+\+)?json\s*(;|$)", re.IGNORECASE)
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Pages say what they need.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Gate:
    """Refuses what the settings refuse, before a route sees it.

    Args:
        app: What comes after it.
        settings: What is let in.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._keys = settings.keys
        self._max_body = min(settings.max_body_bytes, settings.max_total_body_bytes)
        self._bodies = _BodyBudget(settings.max_total_body_bytes)
        self._hosts = _hosts(settings)
        self._allows_origins = bool(settings.cors_allow_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def answer(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    if not (self._allows_origins and name.startswith("Cross-Origin")):
                        headers.setdefault(name, value)
            await send(message)

        body = _Body(receive, self._max_body, self._bodies)
        try:
            record_of(scope).account = self._check(scope, Headers(scope=scope))
            await self._app(scope, body, answer)
        except Exception as error:
            if has_begun:
                raise
            await respond(error, route_path(scope))(scope, receive, answer)
        except asyncio.CancelledError:  # nobody else cancels requests than the server's end
            if has_begun:
                raise
            await respond(server_ends(), route_path(scope))(scope, receive, answer)
        finally:
            body.forget()

    def _check(self, scope: Scope, headers: Headers) -> str:
        """Refuse a request, or return whose it is."""
        is_for_us = self._hosts is None or _without_port(headers.get("host", "")) in self._hosts
        if not is_for_us and not _is_test(scope):
            raise RequestError(
                403,
                "this server answers requests for its own name only: add the name to "
                "allowed_hosts to have it answer others",
            )
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._max_body:
            raise _too_large(self._max_body)
        if scope["method"] == "POST" and not _JSON.match(headers.get("content-type", "")):
            # What other sites' pages may send without being asked is no JSON.
            raise RequestError(415, "send JSON, and say so: Content-Type: application/json")
        path = route_path(scope)
        is_open = path in _OPEN or path.startswith("/web/") or scope["method"] == "OPTIONS"
        return "" if is_open or not self._keys else self._check_key(headers)

    def _check_key(self, headers: Headers) -> str:
        kind, _, given = headers.get("authorization", "").partition(" ")
        sent = given.strip(" \t") if kind.lower() == "bearer" else headers.get("x-api-key", "")
        number = number_of(sent, self._keys)
        if number is None:
            raise RequestError(
                401,
                "a valid API key is needed: send it as 'Authorization: Bearer KEY'",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return f"key {number}"


def is_known(sent: str, keys: Sequence[str]) -> bool:
    """Whether a key is one of those: see ``number_of``."""
    return number_of(sent, keys) is not None


def number_of(sent: str, keys: Sequence[str]) -> int | None:
    """Which of the keys it is, if any; the time that it takes tells nothing of how close it is.

    Args:
        sent: The key as headers are read: a character for each byte.
        keys: Those that are known. Clients may write them in UTF-8 or in Latin-1.
    """
    came = _forms(sent)[-1]
    found = [
        number
        for number, key in enumerate(keys)
        for form in _forms(key)
        if hmac.compare_digest(form, came)
    ]
    return found[0] if found else None


def _forms(key: str) -> list[bytes]:
    """A key in UTF-8, and in Latin-1 where that has its characters."""
    forms = [key.encode("utf-8", "surrogateescape")]
    with contextlib.suppress(UnicodeEncodeError):
        forms.append(key.encode("latin-1"))
    return forms


@dataclass
class _BodyBudget:
    """What the bodies of all requests that are read, wait or run may take together."""

    left: int


class _Body:
    """The body of a request, as long as there is room for it."""

    def __init__(self, receive: Receive, limit: int, budget: _BodyBudget) -> None:
        self._receive = receive
        self._count = 0
        self._limit = limit
        self._budget = budget

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            self._count += count
            self._budget.left -= count
            if self._count > self._limit:
                raise _passed_on(_too_large(self._limit))
            if self._budget.left < 0:
                raise _passed_on(_too_many())
        return message

    def forget(self) -> None:
        """Give its room to others."""
        self._budget.left += self._count


def _passed_on(error: RequestError) -> HTTPException:
    """What FastAPI lets through while it reads a body: only its own kind."""
    return HTTPException(error.status, str(error), dict(error.headers or {}))


def _is_test(scope: Scope) -> bool:
    """Whether a request comes from Starlette's test client, and never came over a socket.

    The client's address would not do: uvicorn takes that from X-Forwarded-For on loopback.
    """
    return "http.response.debug" in (scope.get("extensions") or {})


def _too_large(limit: int) -> RequestError:
    return RequestError(
        413, f"the body is too large: at most {limit} bytes go", headers={"Connection": "close"}
    )


def _too_many() -> RequestError:
    return RequestError(
        503,
        "the bodies of all requests that wait are too large together; try again later",
        headers={"Connection": "close", "Retry-After": "1"},
    )


def _hosts(settings: ServerSettings) -> Sequence[str] | None:
    """The names that requests may be for; None if any will do.

    A server on loopback is reached by pages of other sites whose names lead here (DNS rebinding).
    """
    if settings.host not in LOOPBACK and not settings.allowed_hosts:
        return None
    own = [*LOOPBACK, "[::1]", settings.host]
    return [name.lower() for name in (*own, *settings.allowed_hosts)]


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()
