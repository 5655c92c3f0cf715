"""Requests and slots without a model, for the parts of the engine that only count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from llama_cpp.engine.request import Logprobs, Request
from llama_cpp.engine.slots import Slot


@dataclass
class Listener:
    """A consumer that keeps what it gets."""

    tokens: list[int] = field(default_factory=list)
    has_news: bool = False

    def prompt_token(self, token: int, logprobs: Logprobs | None) -> None:
        self.tokens.append(token)

    def token(self, token: int, logprobs: Logprobs | None) -> bool:
        self.tokens.append(token)
        return False

    def finish(self) -> None:
        self.has_news = True


def a_request(
    prompt: Sequence[int], *, number: int = 0, max_tokens: int = 16, **arguments: Any
) -> Request:
    """A request that nobody samples for."""
    request = Request(prompt, cast("Any", None), Listener(), max_tokens, **arguments)
    request.number = number
    return request


def idle_slot(number: int, cached: Sequence[int], *, last_used: int = 0) -> Slot:
    """A slot that still holds what its last request left."""
    return Slot(number, tokens=list(cached), n_cached=len(cached), last_used=last_used)


def busy_slot(number: int, prompt: Sequence[int], *, n_cached: int, generated: int = 0) -> Slot:
    """A slot whose request has so many tokens in the memory."""
    request = a_request(prompt, number=number)
    request.tokens += [0] * generated
    request.n_generated = generated
    return Slot(number, tokens=request.tokens, n_cached=n_cached, request=request)


def naive_shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common, one by one."""
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count
