"""How long requests took, in llama-server's words."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..engine import Request
from ..llama_types import PromptProgress, Timings


def timings_of(requests: Sequence[Request]) -> Timings:
    """Tell the tokens and times of requests so far; of several the sums.

    As for llama-server the first token is that of the prompt: it costs no step of its own.
    """
    now = time.monotonic()
    prompt_n = sum(request.n_computed for request in requests)
    predicted_n = sum(request.n_generated for request in requests)
    n_steps = sum(max(0, request.n_generated - 1) for request in requests)
    prompt_ms = 1e3 * sum(_prompt_seconds(request, now) for request in requests)
    predicted_ms = 1e3 * sum(_predicted_seconds(request, now) for request in requests)
    timings: Timings = {
        "cache_n": sum(request.n_reused for request in requests),
        "prompt_n": prompt_n,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": prompt_ms / prompt_n if prompt_n else 0.0,
        "prompt_per_second": 1e3 * prompt_n / prompt_ms if prompt_ms else 0.0,
        "predicted_n": predicted_n,
        "predicted_ms": predicted_ms,
        "predicted_per_token_ms": predicted_ms / n_steps if n_steps else 0.0,
        "predicted_per_second": 1e3 * n_steps / predicted_ms if predicted_ms else 0.0,
    }
    if drafted := sum(request.n_drafted for request in requests):
        timings["draft_n"] = drafted
        timings["draft_n_accepted"] = sum(request.n_accepted for request in requests)
    return timings


def progress_of(request: Request) -> PromptProgress:
    """Tell how far the prompt of a request has come, which has a slot."""
    assert request.admit_time is not None
    return {
        "total": request.n_prompt,
        "cache": request.n_reused,
        "processed": request.n_reached,
        "time_ms": int(1e3 * (time.monotonic() - request.admit_time)),
    }


def _prompt_seconds(request: Request, now: float) -> float:
    if request.admit_time is None:
        return 0.0
    return (request.first_token_time or request.end_time or now) - request.admit_time


def _predicted_seconds(request: Request, now: float) -> float:
    if request.first_token_time is None:
        return 0.0
    return (request.end_time or now) - request.first_token_time
