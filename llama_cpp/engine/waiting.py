"""``WaitingRequests``: whose turn is next. Pure Python."""

from __future__ import annotations

import itertools
import threading
from bisect import insort
from collections import Counter
from collections.abc import Iterator, Sequence

from .request import Request


class WaitingRequests:
    """Requests that wait for a slot, in the order of their priorities and their arrival.

    Those of equal priority come in the order of their arrival while all are of one account, else
    the account that got least comes first. Any thread may add and remove.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._n_waiting: Counter[str] = Counter()
        self._shares = Shares()

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        # A copy: other threads add meanwhile.
        return iter(self._requests[:])

    def add(self, requests: Sequence[Request]) -> None:
        """Let requests wait; one that has waited before keeps its place by its number."""
        with self._lock:
            for request in requests:
                account = request.terms.account
                self._shares.join(account, self._n_waiting)
                self._n_waiting[account] += 1
                insort(self._requests, request, key=rank)

    def remove(self, request: Request, *, admitted: bool = False) -> None:
        """Let a request wait no longer.

        Args:
            request: It waits.
            admitted: Whether its account pays for it from now on.
        """
        with self._lock:
            self._requests.remove(request)
            account = request.terms.account
            self._n_waiting[account] -= 1
            if not self._n_waiting[account]:
                del self._n_waiting[account]
            if admitted:
                self._shares.admit(request)

    def first(self) -> Request | None:
        """Return whose turn is next; None if nobody waits."""
        with self._lock:
            if not self._requests:
                return None
            first = self._requests[0]
            if len(self._n_waiting) < 2:
                return first
            self._shares.settle()
            equals = itertools.takewhile(
                lambda each: each.terms.priority == first.terms.priority, self._requests
            )
            return min(equals, key=lambda each: self._shares.served[each.terms.account])


class Shares:
    """How many tokens each account was served: a virtual token counter.

    An account that comes back after a pause is taken up to the least of those that are active, so
    that nobody saves up for a time in which others get nothing (Sheng 2024,
    https://arxiv.org/abs/2401.00588).
    """

    def __init__(self) -> None:
        self.served: dict[str, int] = {}
        self._running: dict[Request, int] = {}
        """Admitted requests, and how much of each its account has paid for."""

    def join(self, account: str, waiting: Counter[str]) -> None:
        """Know that an account has a request.

        Args:
            account: Whose it is.
            waiting: The accounts that have others.
        """
        self.settle()
        active = {*waiting, *(request.terms.account for request in self._running)}
        own = self.served.get(account, 0)
        if account not in active:
            own = max(own, min((self.served[each] for each in active), default=0))
        self.served[account] = own

    def admit(self, request: Request) -> None:
        """Let the account of a request pay for it from now on; once for one that was preempted."""
        self._running.setdefault(request, 0)

    def settle(self) -> None:
        """Let accounts pay for what they got since the last time."""
        for request, paid in tuple(self._running.items()):
            got = request.n_computed + request.n_generated
            self.served[request.terms.account] += got - paid
            self._running[request] = got
            if request.finished:
                del self._running[request]


def rank(request: Request) -> tuple[int, int]:
    """The place of a request among others: less comes first."""
    return -request.terms.priority, request.number
