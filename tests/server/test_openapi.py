"""Requests of every shape that the OpenAPI document admits, and of shapes that it does not."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from server_kit import RunningServer, serving

OPERATIONS = (
    ("POST", "/v1/completions", 300), ("POST", "/v1/chat/completions", 300),
    ("POST", "/v1/responses", 300), ("POST", "/v1/messages", 300),
    ("POST", "/v1/messages/count_tokens", 150), ("POST", "/v1/embeddings", 150),
    ("POST", "/v1/rerank", 100), ("POST", "/extras/tokenize", 100),
    ("POST", "/extras/tokenize/count", 50), ("POST", "/extras/detokenize", 100),
    ("POST", "/tokenize", 100), ("POST", "/detokenize", 100),
    ("GET", "/v1/models/{model}", 50), ("GET", "/v1/models", 1), ("GET", "/health", 1),
    ("GET", "/metrics", 1), ("GET", "/slots", 1), ("GET", "/props", 1),
)  # fmt: skip
SHORT = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def test_every_route_is_among_them(server: RunningServer) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    assert {(m.upper(), path) for path, methods in paths.items() for m in methods} == {
        (method, path) for method, path, _ in OPERATIONS
    }
    assert sum(count for _, _, count in OPERATIONS) >= 2000


@pytest.mark.parametrize(("method", "path", "count"), OPERATIONS, ids=lambda v: str(v))
def test_no_request_is_the_fault_of_the_server(
    server: RunningServer, method: str, path: str, count: int
) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operation = schema[path][method]

    @settings(
        max_examples=count, deadline=None, derandomize=True, database=None,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def run(case: Any) -> None:
        if isinstance(case.body, dict):
            case.body |= {name: 4 for name in SHORT if isinstance(case.body.get(name), int)}
            if path in ("/v1/chat/completions", "/v1/responses"):
                case.body.setdefault(SHORT[path == "/v1/responses" and 2], 4)
        response = case.call()
        case.validate_response(response, checks=[not_a_server_error])
        if response.status_code >= 400:
            assert "error" in response.json()

    given(case=operation.as_strategy())(run)()


@pytest.mark.parametrize("path", [path for method, path, _ in OPERATIONS if method == "POST"])
def test_examples_of_the_document_run(server: RunningServer, path: str) -> None:
    document = server.get("/openapi.json").json()
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    for example in document["components"]["schemas"][name]["examples"]:
        response = server.post(path, example)
        if path == "/v1/rerank":  # for models that have scores
            assert "has no scores" in response.json()["error"]["message"]
        else:
            assert response.status_code == 200, response.text


def test_the_document_tells_of_refusals_and_keys() -> None:
    with serving(api_key="secret") as server:
        document = server.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["security"]
            assert "422" not in operation["responses"]
            assert "4XX" in operation["responses"]
