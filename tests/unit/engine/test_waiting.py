"""Whose turn is next: priorities, arrival, and fair shares of accounts."""

from __future__ import annotations

from collections import Counter

from engine_kit import a_request
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.engine.request import Request
from llama_cpp.engine.terms import Terms
from llama_cpp.engine.waiting import Shares, WaitingRequests


def request_of(number: int, *, priority: int = 0, account: str = "", n_prompt: int = 10) -> Request:
    terms = Terms(priority, account=account)
    return a_request([1] * n_prompt, number=number, terms=terms)


def serve(waiting: WaitingRequests, n_generated: int = 0) -> Request:
    """Serve the next request from its first to its last token."""
    request = waiting.first()
    assert request is not None
    waiting.remove(request, admitted=True)
    request.reach(request.n_prompt)
    request.n_generated = n_generated
    request.finished = True
    return request


def order(waiting: WaitingRequests, n_generated: int = 0) -> list[Request]:
    return [serve(waiting, n_generated) for _ in range(len(waiting))]


@given(st.lists(st.integers(-2, 2), max_size=12))
def test_higher_priorities_come_first_and_equal_ones_as_they_came(priorities: list[int]) -> None:
    requests = [request_of(n, priority=each) for n, each in enumerate(priorities)]
    waiting = WaitingRequests()
    waiting.add(requests)
    assert len(waiting) == len(requests)
    assert order(waiting) == sorted(requests, key=lambda each: -each.terms.priority)
    assert waiting.first() is None


def test_who_comes_back_is_before_those_who_came_later() -> None:
    first, second = request_of(1), request_of(2)
    waiting = WaitingRequests()
    waiting.add([second])
    waiting.add([first])
    assert list(waiting) == [first, second]


def test_accounts_take_turns() -> None:
    many = [request_of(n, account="many") for n in range(6)]
    few = [request_of(n, account="few") for n in range(6, 8)]
    waiting = WaitingRequests()
    waiting.add([*many, *few])
    accounts = [each.terms.account for each in order(waiting)]
    assert accounts == ["many", "few", "many", "few", "many", "many", "many", "many"]


def test_long_texts_count_for_what_they_are() -> None:
    waiting = WaitingRequests()
    waiting.add([request_of(n, account="long", n_prompt=30) for n in range(3)])
    waiting.add([request_of(n, account="short") for n in range(3, 9)])
    served = [each.terms.account for each in order(waiting, n_generated=10)]
    assert served[:6] == ["long", "short", "short", "long", "short", "short"]


def test_what_runs_counts_while_it_does() -> None:
    waiting = WaitingRequests()
    running = request_of(0, account="a")
    waiting.add([running])
    waiting.remove(running, admitted=True)
    waiting.add([request_of(1, account="a"), request_of(2, account="b")])
    running.n_generated = 1
    first = waiting.first()
    assert first is not None and first.terms.account == "b"


def test_nobody_saves_up_for_later() -> None:
    waiting = WaitingRequests()
    waiting.add([request_of(n, account="busy") for n in range(10)])
    for _ in range(5):
        serve(waiting)
    waiting.add([request_of(n, account="late") for n in range(10, 20)])
    served = Counter(serve(waiting).terms.account for _ in range(6))
    assert served == {"busy": 3, "late": 3}


def test_a_priority_is_before_a_share() -> None:
    waiting = WaitingRequests()
    waiting.add([request_of(n, account="a", priority=1) for n in range(3)])
    waiting.add([request_of(3, account="b")])
    assert [each.terms.account for each in order(waiting)] == ["a", "a", "a", "b"]


def test_a_preempted_request_is_paid_for_once() -> None:
    shares, request = Shares(), request_of(0, account="a")
    shares.join("a", Counter())
    shares.admit(request)
    request.reach(10)
    shares.settle()
    shares.join("a", Counter())
    shares.admit(request)
    request.n_generated, request.finished = 3, True
    shares.settle()
    shares.settle()
    assert shares.served == {"a": 13}
