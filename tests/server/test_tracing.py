"""Spans of OpenTelemetry, in the program and sent to a collector."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from server_kit import MODEL, serving

from llama_cpp.errors import InvalidArgumentError
from llama_cpp.server import tracing
from llama_cpp.server.request_record import RequestRecord

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What would be sent."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_exporting", lambda: provider)
    yield exporter
    provider.shutdown()


def asked(spans: InMemorySpanExporter, *requests: tuple[str, Any]) -> list[ReadableSpan]:
    with serving(otel=True) as server:
        for path, body in requests:
            server.post(path, body)
    return list(spans.get_finished_spans())


def test_a_span_tells_what_a_request_took(spans: InMemorySpanExporter) -> None:
    limits = {"max_tokens": 4, "ignore_eos": True, "model": "gpt-4"}
    chat = {"messages": [{"role": "user", "content": "Hello"}], **limits}
    completion = {"prompt": "Once", "stream": True, **limits}
    first, second, third = asked(
        spans, ("/v1/chat/completions", chat), ("/v1/completions", completion),
        ("/v1/embeddings", {"input": "a text"}),
    )  # fmt: skip
    assert [each.name for each in (first, second, third)] == [
        "chat gpt-4", "text_completion gpt-4", "embeddings tinychat",
    ]  # fmt: skip
    for span in (first, second):
        attributes = dict(span.attributes or {})
        assert span.kind is SpanKind.SERVER and span.parent is None
        assert attributes.items() >= {
            "gen_ai.request.model": "gpt-4", "gen_ai.response.model": "tinychat",
            "gen_ai.usage.output_tokens": 4, "gen_ai.response.finish_reasons": ("length",),
            "gen_ai.provider.name": "llama.cpp", "http.response.status_code": 200,
        }.items()  # fmt: skip
        seconds: Any = attributes["gen_ai.response.time_to_first_chunk"]
        assert span.start_time is not None and span.end_time is not None
        assert 0 < seconds < (span.end_time - span.start_time) / 1e9
        assert span.status.status_code is StatusCode.UNSET
    assert dict(third.attributes or {})["gen_ai.operation.name"] == "embeddings"


def test_a_span_belongs_to_the_trace_of_its_request(spans: InMemorySpanExporter) -> None:
    with serving(otel=True) as server:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        body = {"prompt": "Once", "max_tokens": 1}
        server.post("/v1/completions", body, headers=headers)
        server.post("/v1/completions", body, headers={"traceparent": "nonsense"})
        server.get("/health")
    traced, other = spans.get_finished_spans()
    assert traced.parent is not None and traced.context is not None and other.context is not None
    assert f"{traced.context.trace_id:032x}" == TRACE
    assert f"{traced.parent.span_id:016x}" == PARENT
    assert other.parent is None and other.context.trace_id != traced.context.trace_id


def test_a_programs_own_provider_and_spans_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    tracer = tracing.tracer_of(True)
    assert tracer is not None
    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}
    with provider.get_tracer("the program").start_as_current_span("outer") as outer:
        tracer.ended(scope, RequestRecord("id", status=200))
    tracer.close()
    tracer.ended(scope, RequestRecord("id", status=500))  # it is not ours to shut down
    inner, _, last = exporter.get_finished_spans()
    assert inner.parent == outer.get_span_context() and inner.kind is SpanKind.INTERNAL
    assert last.parent is None and last.status.status_code is StatusCode.ERROR
    provider.shutdown()


def test_what_is_refused_has_a_span_too(spans: InMemorySpanExporter) -> None:
    [refused] = asked(spans, ("/v1/completions", {"prompt": "Once", "temperature": -1}))
    assert refused.name == "POST /v1/completions"
    assert dict(refused.attributes or {})["error.type"] == "400"
    assert refused.status.status_code is StatusCode.UNSET  # its client is to blame


def test_names_of_clients_are_cut(spans: InMemorySpanExporter) -> None:
    body = {"prompt": "Once", "max_tokens": 1, "model": "m" * 100_000}
    [span] = asked(spans, ("/v1/completions", body))
    assert span.name == "text_completion " + "m" * 256
    assert dict(span.attributes or {})["gen_ai.request.model"] == "m" * 256


def test_without_the_setting_nothing_is_traced(spans: InMemorySpanExporter) -> None:
    with serving() as server:
        server.post("/v1/completions", {"prompt": "Once", "max_tokens": 1})
    assert spans.get_finished_spans() == ()


def collected(monkeypatch: pytest.MonkeyPatch, **environment: str) -> ExportTraceServiceRequest:
    """What a collector gets of one request, by the environment variables of OpenTelemetry."""
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector, ThreadPoolExecutor(1) as thread:
        thread.submit(collector.serve_forever)
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            with serving() as server:
                server.post("/v1/completions", {"prompt": "Once", "max_tokens": 1})
        finally:
            collector.shutdown()
    [body] = bodies
    sent = ExportTraceServiceRequest()
    sent.ParseFromString(body)
    return sent


@pytest.mark.parametrize("name", [None, "mine"])
def test_spans_are_sent_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    sent = collected(monkeypatch, **({} if name is None else {"OTEL_SERVICE_NAME": name}))
    [resource] = sent.resource_spans
    names = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert names["service.name"] == (name or "llama-cpp-python")
    assert [each.name for each in resource.scope_spans[0].spans] == ["text_completion tinychat"]


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(InvalidArgumentError, match=r"llama-cpp-python\[otel\]"):
        tracing.tracer_of(True)
    assert tracing.tracer_of(False) is None
    assert tracing.tracer_of(None) is None


def test_opentelemetry_is_imported_where_it_is_used() -> None:
    code = (
        "import sys; from llama_cpp.server.app import create_app; "
        "from llama_cpp.server.settings import Settings; "
        "create_app(Settings(model=sys.argv[1])); "
        "assert not {'opentelemetry.sdk', 'opentelemetry.exporter'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, MODEL["model"]], check=True, timeout=120)
