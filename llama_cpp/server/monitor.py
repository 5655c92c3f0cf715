"""``Monitor``: what a server does, for Prometheus; names are llama-server's, or vLLM's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from ..generation.generator import Choice
    from .generation import ActiveGeneration

_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320,
    640,
)  # fmt: skip
_SECONDS_OF_TOKENS = (
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5,
)  # fmt: skip


class ModelLoad(NamedTuple):
    """How many requests of a model are decoded now, and how many wait."""

    model: str
    processing: int
    deferred: int


class Monitor:
    """Counts requests and tokens, by models.

    Args:
        loads: Returns what loaded models have to do now.
    """

    def __init__(self, loads: Callable[[], Iterable[ModelLoad]]) -> None:
        self._registry = registry = CollectorRegistry()
        self._active: dict[ActiveGeneration, _Meter] = {}

        def counter(name: str, text: str) -> Counter:
            return Counter(f"llamacpp:{name}", text, ("model",), registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"llamacpp:{name}", text, ("model",), registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
            return Histogram(
                f"llamacpp:{name}", text, ("model",), registry=registry, buckets=buckets
            )

        self.prompt = counter("prompt_tokens", "Prompt tokens that were computed.")
        self.cached = counter("prompt_tokens_cached", "Prompt tokens that were not, but reused.")
        self.predicted = counter("tokens_predicted", "Tokens that were generated.")
        self.prompt_seconds = counter("prompt_seconds", "Seconds until first tokens.")
        self.predicted_seconds = counter("tokens_predicted_seconds", "Seconds after them.")
        self.prompt_rate = gauge("prompt_tokens_seconds", "Prompt tokens per second, lately.")
        self.predicted_rate = gauge(
            "predicted_tokens_seconds", "Tokens per second of a request, lately."
        )
        self.first_token = histogram("time_to_first_token_seconds", "From request to first token.")
        self.between_tokens = histogram(
            "inter_token_latency_seconds", "From token to token of a text.", _SECONDS_OF_TOKENS
        )
        self.queue = histogram("request_queue_time_seconds", "From request to its first step.")
        self.whole = histogram("e2e_request_latency_seconds", "From request to its last token.")
        self._refused = counter("requests_refused", "Requests that found the queue full.")
        self._requests = Counter(
            "llamacpp:http_requests", "Requests by route and status.", ("route", "status"),
            registry=registry,
        )  # fmt: skip
        registry.register(_Loads(loads))

    def refused(self, model: str) -> None:
        """Count a request that found the queue full."""
        self._refused.labels(model).inc()

    def answered(self, route: str, status: int) -> None:
        """Count an answer."""
        self._requests.labels(route, str(status)).inc()

    def begun(self, model: str, running: ActiveGeneration) -> None:
        """Know of a generation."""
        self._active[running] = _Meter(self, model, running)

    def stepped(self, generations: Iterable[ActiveGeneration]) -> None:
        """Measure the times of new tokens; is called after each step."""
        now = time.monotonic()
        for running in generations:
            self._active[running].measure(now)

    def ended(self, running: ActiveGeneration) -> None:
        """Know that a generation is over."""
        self._active.pop(running).finish()

    def text(self) -> bytes:
        """Everything up to now, in Prometheus's text format."""
        for meter in self._active.values():
            meter.count()
        return generate_latest(self._registry)


class _Meter:
    """Adds what is new of one generation.

    Times are measured with each step. Tokens are counted when somebody asks, and at the end.
    """

    def __init__(self, monitor: Monitor, model: str, running: ActiveGeneration) -> None:
        self._running = running
        self._predicted = monitor.predicted.labels(model)
        self._prompt, self._cached = monitor.prompt.labels(model), monitor.cached.labels(model)
        self._prompt_seconds = monitor.prompt_seconds.labels(model)
        self._predicted_seconds = monitor.predicted_seconds.labels(model)
        self._prompt_rate = monitor.prompt_rate.labels(model)
        self._predicted_rate = monitor.predicted_rate.labels(model)
        self._first_token = monitor.first_token.labels(model)
        self._queue = monitor.queue.labels(model)
        self._whole = monitor.whole.labels(model)
        between = monitor.between_tokens.labels(model)
        self._texts = [_TextMeter(choice, between) for choice in running.run.choices]
        self._n_predicted = 0
        self._counted_until: float | None = None

    def measure(self, now: float) -> None:
        for text in self._texts:
            text.measure(now)

    def count(self) -> None:
        running = self._running
        first = running.run.first_token_time
        if first is None:
            return
        if self._counted_until is None:
            self._count_prompt(first)
            self._counted_until = first
        end = running.end_time
        n = running.run.n_generated
        self._predicted.inc(n - self._n_predicted)
        self._n_predicted = n
        self._predicted_seconds.inc(max(0.0, end - self._counted_until))
        self._counted_until = max(end, self._counted_until)
        if (rate := running.tokens_per_second) is not None:
            self._predicted_rate.set(rate)

    def _count_prompt(self, first: float) -> None:
        usage, seconds = self._running.run.usage, first - self._running.started
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        computed = max(0, usage["prompt_tokens"] - cached)
        self._prompt.inc(computed)
        self._cached.inc(cached)
        self._prompt_seconds.inc(seconds)
        self._first_token.observe(seconds)
        if (waited := self._running.run.queue_seconds) is not None:
            self._queue.observe(waited)
        if seconds > 0:
            self._prompt_rate.set(computed / seconds)

    def finish(self) -> None:
        self.measure(self._running.end_time)
        self.count()
        if self._counted_until is not None:
            self._whole.observe(self._running.end_time - self._running.started)


class _TextMeter:
    """Measures the times between the tokens of one text."""

    def __init__(self, choice: Choice, between: Histogram) -> None:
        self._request = choice.request
        self._between = between
        self._n = 0
        self._last = 0.0

    def measure(self, now: float) -> None:
        n = self._request.n_generated
        if n == self._n:
            return
        if not self._n:
            self._n, self._last = 1, self._request.first_token_time or now
        n_new = n - self._n
        for _ in range(n_new):  # of tokens that came together each has its share
            self._between.observe(max(0.0, now - self._last) / n_new)
        self._n, self._last = n, now


class _Loads(Collector):
    """Tells what there is to do when it is asked."""

    def __init__(self, loads: Callable[[], Iterable[ModelLoad]]) -> None:
        self._loads = loads

    def collect(self) -> Iterator[GaugeMetricFamily]:
        processing = GaugeMetricFamily(
            "llamacpp:requests_processing", "Requests that are decoded.", labels=["model"]
        )
        deferred = GaugeMetricFamily(
            "llamacpp:requests_deferred", "Requests that wait.", labels=["model"]
        )
        for load in self._loads():
            processing.add_metric([load.model], load.processing)
            deferred.add_metric([load.model], load.deferred)
        yield processing
        yield deferred

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # before there are models
