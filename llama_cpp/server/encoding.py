"""JSON and server-sent events, as bytes."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import Response

_LEAST_LOGPROB = -9999.0
"""What OpenAI tells where the logarithm is of zero."""


def encoded(value: Any) -> bytes:
    """Write JSON, in which there is no infinity."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else _LEAST_LOGPROB
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def event(data: Any, name: str | None = None) -> bytes:
    """Write one server-sent event."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + encoded(data) + b"\n\n"


class JSONAnswer(Response):
    """A JSON response."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write the body."""
        return encoded(content)
