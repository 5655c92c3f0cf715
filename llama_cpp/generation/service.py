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


@dataclass(frozen=True)
class ServiceParams:
    """How a call is served, whatever its texts are.

    Attributes:
        priority: Higher ones come first.
        ends_at: When it ends at the latest, by ``time.monotonic``; None: never.
        account: Whose call it is, for a fair share.
        timings: Whether the result, or the last chunk, tells how long it took.
        timings_per_token: Whether each chunk does.
        return_progress: Whether chunks tell how much of the prompt is computed.
    """

    priority: int = 0
    ends_at: float | None = None
    account: str = ""
    timings: bool = False
    timings_per_token: bool = False
    return_progress: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ServiceParams:
        """Check the arguments of a call, whose time begins now.

        Raises:
            InvalidArgumentError: A value is out of range.
        """
        priority = options.get("priority")
        reports = {name: options[name] for name in _REPORTS if options.get(name) is not None}
        return cls(
            0 if priority is None else integer("priority", priority, -PRIORITY_MAX, PRIORITY_MAX),
            _end(options.get("timeout"), options.get("deadline")),
            **{name: truth(name, value) for name, value in reports.items()},  # type: ignore[arg-type]
        )

    @property
    def terms(self) -> Terms:
        """What the engine has to know of it."""
        return Terms(self.priority, self.ends_at, account=self.account)

    def arguments(self) -> dict[str, Any]:
        """The arguments that say the same, for a handler of the caller's own."""
        given: dict[str, Any] = {}
        if self.priority:
            given["priority"] = self.priority
        if self.ends_at is not None:
            given["timeout"] = max(0.0, self.ends_at - time.monotonic())
        return given | {name: True for name in _REPORTS if getattr(self, name)}


_REPORTS = ("timings", "timings_per_token", "return_progress")


def _end(timeout: object, deadline: object) -> float | None:
    """When a call ends that begins now: the earlier one of both."""
    ends = []
    if timeout is not None:
        ends.append(time.monotonic() + number("timeout", timeout, 0, math.inf))
    if deadline is not None:
        at = deadline.timestamp() if isinstance(deadline, datetime) else deadline
        try:
            left = number("deadline", at, -math.inf, math.inf) - time.time()
        except InvalidArgumentError:
            raise InvalidArgumentError(
                f"deadline={deadline!r} must be a datetime, or seconds since the epoch as "
                "time.time() gives them; for seconds from now give timeout"
            ) from None
        ends.append(time.monotonic() + left)
    return min(ends, default=None)
