"""``Tracer``: a span of OpenTelemetry for each request, with the attributes of generative AI."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

from .. import __version__
from ..errors import InvalidArgumentError
from .request_record import RequestRecord

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_OPERATIONS = {
    "/v1/completions": "text_completion",
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/messages": "chat",
    "/v1/embeddings": "embeddings",
}
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracer:
    """Makes spans of requests that are over, so that tokens cost nothing.

    Args:
        provider: Takes them; None: the one that the program has set, or one that sends them where
            the environment variables of OpenTelemetry say.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        from opentelemetry import trace

        self._own: Any = None
        if provider is None:
            provider = trace.get_tracer_provider()
            if isinstance(provider, trace.ProxyTracerProvider):  # the program has set none
                provider = self._own = _exporting()
        self._tracer = provider.get_tracer("llama_cpp.server", __version__)

    def ended(self, scope: Mapping[str, Any], record: RequestRecord) -> None:
        """Make the span of a request."""
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, StatusCode, get_current_span

        # What instruments HTTP has a span already, of which ours tells more.
        is_within = get_current_span().get_span_context().is_valid
        now, end = time.monotonic(), time.time_ns()
        route = getattr(scope.get("route"), "path", None)
        operation = _OPERATIONS.get(str(route))
        name = f"{scope['method']} {route or ''}".strip()
        if operation is not None and record.model is not None:
            name = f"{operation} {record.requested_model or record.model}"
        span = self._tracer.start_span(
            name,
            context=None if is_within else extract(dict(Headers(scope=dict(scope)))),
            kind=SpanKind.INTERNAL if is_within else SpanKind.SERVER,
            start_time=end - int((now - record.started) * 1e9),
            attributes={
                name: value
                for name, value in _attributes(scope, route, operation, record).items()
                if value is not None
            },
        )
        if record.status >= 500 or record.broken == "cut":
            span.set_status(StatusCode.ERROR)
        span.end(end)

    def close(self) -> None:
        """Send what was not sent yet."""
        if self._own is not None:
            self._own.shutdown()


def tracer_of(otel: bool | None) -> Tracer | None:
    """Return what traces requests, or None if nothing is to.

    Args:
        otel: Whether to; None: where an environment variable says where traces go.

    Raises:
        InvalidArgumentError: OpenTelemetry is wanted and not installed.
    """
    if otel is False or not (otel or any(map(os.environ.get, _ENDPOINTS))):
        return None
    try:
        return Tracer()
    except ImportError as error:
        raise InvalidArgumentError(
            f"otel needs what is not installed ({error}): install the extra "
            "llama-cpp-python[otel], or set otel=false"
        ) from None


def _exporting() -> Any:
    """A provider that sends spans by OTLP over HTTP, as environment variables say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    is_named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    own: dict[str, str] = {} if is_named else {SERVICE_NAME: "llama-cpp-python"}
    provider = TracerProvider(resource=Resource.create(own))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _attributes(
    scope: Mapping[str, Any], route: str | None, operation: str | None, record: RequestRecord
) -> dict[str, Any]:
    """The attributes of a span; None is not known."""
    attributes: dict[str, Any] = {
        "http.request.method": scope["method"],
        "http.route": route,
        "http.response.status_code": record.status,
        "url.path": scope["path"],
        "client.address": (scope.get("client") or (None,))[0],
        "error.type": str(record.status) if record.status >= 400 else None,
    }
    if record.model is None:
        return attributes
    attributes |= {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "llama.cpp",
        "gen_ai.request.model": record.requested_model or record.model,
        "gen_ai.response.model": record.model,
        "gen_ai.usage.input_tokens": record.input_tokens,
    }
    if record.generation is not None:
        figures = record.generation.figures()
        attributes |= {
            "gen_ai.usage.input_tokens": figures["input_tokens"],
            "gen_ai.usage.output_tokens": figures["output_tokens"],
            "gen_ai.usage.cache_read.input_tokens": figures["cached_tokens"],
            "gen_ai.response.finish_reasons": tuple(record.generation.finish_reasons) or None,
            "gen_ai.response.time_to_first_chunk": record.generation.seconds_to_first_token,
        }
    return attributes
