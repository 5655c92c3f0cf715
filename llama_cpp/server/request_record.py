"""``RequestRecord``: what is known of a request when it is over."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .generation import ActiveGeneration

Broken = Literal["cancelled", "cut"]

_KEY = "llama_cpp.request"
_SANE_ID = re.compile(r"[\w.:@/+=-]{1,128}", re.ASCII)


@dataclass
class RequestRecord:
    """What a log, metrics and traces say of one request; routes fill it in."""

    id: str
    started: float = field(default_factory=time.monotonic)
    status: int = 500
    requested_model: str | None = None
    model: str | None = None
    """The first name of the model that works for it."""
    account: str = ""
    """Whose key it came with, for a fair share; never the key itself."""
    generation: ActiveGeneration | None = None
    input_tokens: int | None = None
    """Of a request that generates none."""
    broken: Broken | None = None
    """Why the answer is not whole: its client left, or the server had to end it."""

    def break_off(self, why: Broken, status: int) -> None:
        """Know that the answer is not whole, whatever status was sent when it began."""
        self.broken, self.status = why, status

    @property
    def ending(self) -> str | None:
        """Why its text ended: finish reasons, ``cancelled``, or ``cut``."""
        if self.broken is not None or self.generation is None:
            return self.broken
        return ",".join(dict.fromkeys(self.generation.finish_reasons)) or None


def request_id(given: str | None) -> str:
    """The name of a request: what it is called already, if that may stand in a log."""
    return given if given and _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def record_of(scope: MutableMapping[str, Any]) -> RequestRecord:
    """The record of a request, which begins when somebody first asks for it."""
    record: RequestRecord | None = scope.get(_KEY)
    if record is None:
        given = dict(scope.get("headers") or ()).get(b"x-request-id", b"")
        record = scope[_KEY] = RequestRecord(request_id(given.decode("latin-1")))
    return record
