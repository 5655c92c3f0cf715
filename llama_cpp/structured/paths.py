"""Places in JSON values, as people write them."""

from __future__ import annotations

from collections.abc import Iterable


def field_name(path: Iterable[str | int]) -> str:
    """Return a place as text, like ``address.lines[0]``; "" is the whole value."""
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else f".{step}"
    return name.removeprefix(".")
