"""What a server tells of itself."""

from __future__ import annotations

from server_kit import RunningServer


def test_metrics_tell_what_was_done(server: RunningServer) -> None:
    def value(name: str) -> float:
        lines = server.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    before = value("llamacpp:tokens_predicted_total")
    body = {"prompt": "Once upon a time", "max_tokens": 50, "ignore_eos": True}
    assert server.post("/v1/completions", body).status_code == 200
    assert value("llamacpp:tokens_predicted_total") == before + 50
    assert value("llamacpp:predicted_tokens_seconds") < 50_000
    assert value("llamacpp:time_to_first_token_seconds_count") >= 1
