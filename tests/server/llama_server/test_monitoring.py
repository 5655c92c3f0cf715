"""What a server tells of itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from prometheus_client.parser import text_string_to_metric_families
from server_kit import RunningServer, serving


class Samples:
    """What ``/metrics`` says."""

    def __init__(self, server: RunningServer) -> None:
        families = text_string_to_metric_families(server.get("/metrics").text)
        self._samples = [sample for family in families for sample in family.samples]

    def of(self, name: str, **labels: str) -> float:
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == f"llamacpp:{name}" and sample.labels.items() >= labels.items()
        )


def test_metrics_tell_what_was_done(server: RunningServer) -> None:
    before = Samples(server)
    body = {"prompt": "Once upon a time", "max_tokens": 50, "ignore_eos": True, "n": 2}
    assert server.post("/v1/completions", body).status_code == 200
    after = Samples(server)

    def grown(name: str) -> float:
        return after.of(name, model="tinychat") - before.of(name, model="tinychat")

    assert grown("tokens_predicted_total") == 100
    assert grown("prompt_tokens_total") + grown("prompt_tokens_cached_total") > 1
    assert after.of("predicted_tokens_seconds") < 50_000
    for name in (
        "time_to_first_token_seconds", "request_queue_time_seconds", "e2e_request_latency_seconds",
    ):  # fmt: skip
        assert grown(f"{name}_count") == 1
    assert grown("inter_token_latency_seconds_count") == 98
    assert grown("inter_token_latency_seconds_sum") > 0
    assert grown("time_to_first_token_seconds_sum") < grown("e2e_request_latency_seconds_sum")


def test_metrics_move_while_a_request_runs() -> None:
    body = {"prompt": "Once", "max_tokens": 1900, "ignore_eos": True}
    with serving() as server, ThreadPoolExecutor(1) as thread:
        answer = thread.submit(server.post, "/v1/completions", body)
        seen = []
        while not answer.done():
            seen.append(Samples(server))
    totals = [each.of("tokens_predicted_total") for each in seen]
    assert totals == sorted(totals)
    between = [each for each in seen if 2 < each.of("tokens_predicted_total") < 1800]
    assert between
    for each in between:
        assert each.of("requests_processing", model="tinychat") == 1
        assert each.of("time_to_first_token_seconds_count") == 1
        assert each.of("tokens_predicted_seconds_total") > 0
        assert each.of("e2e_request_latency_seconds_count") == 0
    assert between[-1].of("inter_token_latency_seconds_count") > 0


def test_metrics_tell_models_apart() -> None:
    models: list[dict[str, object]] = [{"model_alias": "a"}, {"model_alias": "b"}]
    with serving(*models) as server:
        for model, n in (("a", 3), ("b", 5)):
            body = {"model": model, "prompt": "Once", "max_tokens": n, "ignore_eos": True}
            assert server.post("/v1/completions", body).status_code == 200
        told = Samples(server)
        assert [told.of("tokens_predicted_total", model=name) for name in "ab"] == [3, 5]
        assert told.of("requests_deferred", model="b") == 0


def test_metrics_tell_how_long_a_request_waited() -> None:
    body = {"prompt": "Once", "max_tokens": 100, "ignore_eos": True}
    with serving({"n_parallel": 1}) as server, ThreadPoolExecutor(2) as threads:
        engine = server.context.registry.runners["tinychat"].llama.engine
        with engine.exclusive():  # both are there before the first is begun
            answers = [threads.submit(server.post, "/v1/completions", body) for _ in range(2)]
            while Samples(server).of("requests_deferred") < 2:
                pass
        assert [each.result().status_code for each in answers] == [200, 200]
        told = Samples(server)
    assert told.of("request_queue_time_seconds_count") == 2
    # The second waits as long as all 100 tokens of the first take.
    assert (
        told.of("request_queue_time_seconds_sum") > told.of("inter_token_latency_seconds_sum") / 4
    )
