"""Python text that is laid out the way ``ruff format`` would."""

from __future__ import annotations

import re
from collections.abc import Sequence

WIDTH = 100
INDENT = "    "


def call(before: str, arguments: Sequence[str], after: str, depth: int = 0) -> list[str]:
    """Lay out a call or a ``def``: on one line, or with all arguments on a line of their own."""
    line = INDENT * depth + before + ", ".join(arguments) + after
    if len(line) <= WIDTH or not arguments:
        return [line]
    body = INDENT * (depth + 1) + ", ".join(arguments)
    lines = [body] if len(body) <= WIDTH else _one_per_line(arguments, depth + 1)
    return [INDENT * depth + before, *lines, INDENT * depth + after]


def display(before: str, items: Sequence[str], after: str, depth: int = 0) -> list[str]:
    """Lay out a list or tuple display: on one line, or with one item on each."""
    line = INDENT * depth + before + ", ".join(items) + after
    if len(line) <= WIDTH or not items:
        return [line]
    return [
        INDENT * depth + before,
        *_one_per_line(items, depth + 1),
        INDENT * depth + after,
    ]


def tuple_of(items: Sequence[str]) -> str:
    """Return a tuple display on one line."""
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def isort_key(name: str) -> tuple[int, list[str | int]]:
    """Sort names as ``ruff`` wants them in imports and ``__all__``."""
    rank = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    # c_uint8 comes before c_uint32.
    natural = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    return rank, natural


def _one_per_line(items: Sequence[str], depth: int) -> list[str]:
    return [f"{INDENT * depth}{item}," for item in items]
