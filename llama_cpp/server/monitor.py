"""``Monitor``: what a server has done, for Prometheus; the names are llama-server's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from .generation import ActiveGeneration


class Monitor:
    """Counts requests and tokens.

    Args:
        processing: Returns how many requests are decoded now.
        deferred: Returns how many wait.
    """

    def __init__(self, processing: Callable[[], float], deferred: Callable[[], float]) -> None:
        self._registry = registry = CollectorRegistry()
        self._prompt = Counter(
            "llamacpp:prompt_tokens", "Prompt tokens that were computed.", registry=registry
        )
        self._predicted = Counter(
            "llamacpp:tokens_predicted", "Tokens that were generated.", registry=registry
        )
        self._prompt_seconds = Counter(
            "llamacpp:prompt_seconds", "Seconds until first tokens.", registry=registry
        )
        self._predicted_seconds = Counter(
            "llamacpp:tokens_predicted_seconds", "Seconds after them.", registry=registry
        )
        self._prompt_rate = Gauge(
            "llamacpp:prompt_tokens_seconds", "Prompt tokens per second, lately.",
            registry=registry,
        )  # fmt: skip
        self._predicted_rate = Gauge(
            "llamacpp:predicted_tokens_seconds", "Tokens per second of a request, lately.",
            registry=registry,
        )  # fmt: skip
        Gauge(
            "llamacpp:requests_processing", "Requests that are decoded.", registry=registry
        ).set_function(processing)
        Gauge("llamacpp:requests_deferred", "Requests that wait.", registry=registry).set_function(
            deferred
        )
        self._refused = Counter(
            "llamacpp:requests_refused", "Requests that found the queue full.", registry=registry
        )
        self._requests = Counter(
            "llamacpp:http_requests", "Requests by route and status.", ("route", "status"),
            registry=registry,
        )  # fmt: skip
        self._first_token = Histogram(
            "llamacpp:time_to_first_token_seconds", "From request to first token.",
            registry=registry,
        )  # fmt: skip

    def refused(self) -> None:
        """Count a request that found the queue full."""
        self._refused.inc()

    def answered(self, route: str, status: int) -> None:
        """Count an answer."""
        self._requests.labels(route, str(status)).inc()

    def generated(self, running: ActiveGeneration) -> None:
        """Count what a generation took."""
        first = running.run.first_token_time
        if first is None:  # its client left before
            return
        usage = running.run.usage
        details = usage.get("prompt_tokens_details") or {}
        computed = usage["prompt_tokens"] - int(details.get("cached_tokens", 0))
        predicted = usage["completion_tokens"]
        now = time.monotonic()
        self._prompt.inc(max(0, computed))
        self._predicted.inc(predicted)
        self._prompt_seconds.inc(first - running.started)
        self._predicted_seconds.inc(now - first)
        self._first_token.observe(first - running.started)
        if first > running.started:
            self._prompt_rate.set(computed / (first - running.started))
        if now > first:
            self._predicted_rate.set(predicted / (now - first))

    def text(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self._registry)
