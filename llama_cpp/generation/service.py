"""``ServiceParams``: how a call is served, whatever its texts are."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..engine.terms import Terms
from ..errors import InvalidArgumentError
from ..validation.numbers import integer, number, truth

PRIORITY_MAX = 2**31 - 1
OVERFLOWS = ("error", "shift", "trim")


@dataclass(frozen=True)
class ServiceParams:
    """How a call is served, whatever its texts are.

    Attributes:
        priority: Higher ones come first.
        ends_at: When it ends at the latest, by ``time.monotonic``; None: never.
        account: Whose call it is, for a fair share.
        overflow: What to do where the context is full: "error", "shift" or "trim"; None: what the
            model is set to.
        timings: Whether the result, or the last chunk, tells how long it took.
        timings_per_token: Whether each chunk does.
        return_progress: Whether chunks tell how much of the prompt is computed.
    """

    priority: int = 0
    ends_at: float | None = None
    account: str = ""
    overflow: str | None = None
    timings: bool = False
    timings_per_token: bool = False
    return_progress: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ServiceParams:
        """Check the arguments of a call, whose time begins now.

        Raises:
            InvalidArgumentError: A value is out of range.
        """
        priority, overflow = options.get("priority"), options.get("overflow")
        if overflow not in (None, *OVERFLOWS):
            raise InvalidArgumentError(
                f"overflow={overflow!r} must be one of {', '.join(OVERFLOWS)}"
            )
        return cls(
            0 if priority is None else integer("priority", priority, -PRIORITY_MAX, PRIORITY_MAX),
            _end(options.get("timeout"), options.get("deadline")),
            overflow=overflow,
            timings=_flag(options, "timings"),
            timings_per_token=_flag(options, "timings_per_token"),
            return_progress=_flag(options, "return_progress"),
        )

    @property
    def terms(self) -> Terms:
        """What the engine has to know of it."""
        shifts = None if self.overflow in (None, "trim") else self.overflow == "shift"
        return Terms(self.priority, self.ends_at, shifts, self.account)

    def arguments(self) -> dict[str, Any]:
        """The arguments that say the same, for a handler of the caller's own."""
        given: dict[str, Any] = {}
        if self.priority:
            given["priority"] = self.priority
        if self.ends_at is not None:
            given["timeout"] = max(0.0, self.ends_at - time.monotonic())
        if self.overflow is not None:
            given["overflow"] = self.overflow
        return given | {name: True for name in _REPORTS if getattr(self, name)}


_REPORTS = ("timings", "timings_per_token", "return_progress")


def _flag(options: Mapping[str, Any], name: str) -> bool:
    value = options.get(name)
    return False if value is None else truth(name, value)


def _end(timeout: object, deadline: object) -> float | None:
    """When a call ends that begins now: the earlier one of both."""
    ends = []
    if timeout is not None:
        ends.append(time.monotonic() + number("timeout", timeout, 0, math.inf))
    if deadline is not None:
        try:
            at = deadline.timestamp() if isinstance(deadline, datetime) else deadline
            left = number("deadline", at, -math.inf, math.inf) - time.time()
        except (ValueError, OverflowError, OSError):  # years that no clock has, too
            raise InvalidArgumentError(
                f"deadline={deadline!r} must be a datetime, or seconds since the epoch: for "
                "seconds from now give timeout"
            ) from None
        ends.append(time.monotonic() + left)
    return min(ends, default=None)
