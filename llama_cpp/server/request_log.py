"""``RequestLog``: gives each request a name, and tells of it when it is over."""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .monitor import Monitor
from .request_record import RequestRecord, record_of
from .tracing import Tracer

_LOGGER = logging.getLogger("llama_cpp.server.access")

_PLAIN = re.compile(r"[\w.:,-]+", re.ASCII)


class RequestLog:
    """Comes before everything else, so that what is refused has its line too.

    Args:
        app: What comes after it.
        logs: Whether to write lines.
        monitor: Is told of answers.
        tracer: Is told of requests; None: nobody is.
    """

    def __init__(
        self, app: ASGIApp, *, logs: bool, monitor: Monitor, tracer: Tracer | None
    ) -> None:
        self._app = app
        self._logs = logs
        self._monitor = monitor
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = record_of(scope)
        has_begun = is_whole = False

        async def answer(message: Message) -> None:
            nonlocal has_begun, is_whole
            if message["type"] == "http.response.start":
                has_begun = True
                if record.broken is None:
                    record.status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = record.id
            elif message["type"] == "http.response.body":
                is_whole = not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            if has_begun and not is_whole and record.broken is None:
                record.break_off("cut", 500)
            route = getattr(scope.get("route"), "path", "other")
            self._monitor.answered(route, record.status)
            if self._tracer is not None and scope["method"] == "POST":  # what models work for
                self._tracer.ended(scope, record)
            if self._logs:
                _LOGGER.info(_line(scope, record))


class _Line(dict[str, Any]):
    """Fields of a line: a formatter for JSON takes them as they are."""

    def __str__(self) -> str:
        """Write them; texts of clients are quoted, so that none begins a line or a field."""
        return " ".join(
            f"{name}={value if _PLAIN.fullmatch(str(value)) else json.dumps(str(value))}"
            for name, value in self.items()
        )


def _line(scope: Scope, record: RequestRecord) -> _Line:
    """What is known of a request."""
    fields: dict[str, Any] = {
        "client": (scope.get("client") or ("-",))[0],
        "request_id": record.id,
        "method": scope["method"],
        "path": scope["path"],
        "status": record.status,
        "ms": round((time.monotonic() - record.started) * 1e3, 1),
        "model": record.model,
        "input_tokens": record.input_tokens,
        "end": record.ending,
    }
    if record.generation is not None:
        fields |= record.generation.figures()
    return _Line((name, value) for name, value in fields.items() if value is not None)
