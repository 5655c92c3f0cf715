"""Requests, and the calls that wait for them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from engine_kit import Listener, a_request

from llama_cpp.engine.request import Call, Request


def listener(request: Request) -> Listener:
    return cast("Listener", request.consumer)


def test_a_request_has_its_own_copy_of_the_prompt() -> None:
    prompt = [1, 2, 3]
    request = a_request(prompt)
    request.tokens.append(4)
    assert prompt == [1, 2, 3]
    assert (request.n_prompt, request.n_generated, request.n_reused) == (3, 0, 0)


def test_a_request_is_not_done_when_it_comes() -> None:
    request = a_request([1])
    assert not (request.finished or request.cancelled or request.error or request.finish_reason)


@pytest.mark.parametrize("hook", ["processor", "stopping"])
def test_a_request_knows_its_hooks(hook: str) -> None:
    assert not a_request([1]).has_hooks
    hooks: dict[str, Any] = {hook: lambda ids, row: row}
    assert a_request([1], **hooks).has_hooks


def test_a_call_has_news_when_any_of_its_requests_has() -> None:
    requests = [a_request([1]), a_request([2])]
    call = Call(requests)
    assert not call.is_ready()
    listener(requests[1]).has_news = True
    assert call.is_ready()


def test_a_call_that_wants_all_waits_for_the_last_request() -> None:
    requests = [a_request([1]), a_request([2])]
    call = Call(requests)
    call.wants_all = True
    listener(requests[0]).has_news = True
    call.n_running -= 1
    assert not call.is_ready()
    call.n_running -= 1
    assert call.is_ready()


def test_a_call_without_requests_is_ready() -> None:
    assert Call(()).is_ready()
