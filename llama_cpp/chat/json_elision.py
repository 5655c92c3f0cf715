"""Where the middle of a long JSON text can be left out, so that what follows means the same."""

from __future__ import annotations

import re

_PIECE = re.compile(r'\\u[0-9a-fA-F]{4}|\\.|"|[][{}]|,|[^\\"\][{},]+', re.DOTALL)


def json_cut(text: str, margin: int) -> tuple[int, int]:
    """Find the widest part of the beginning of a JSON text that its end does not depend on.

    That is characters of the string that is open at the end, or whole members of a list or an
    object that is.

    Args:
        text: The beginning of a JSON text.
        margin: So many characters stay on both sides.

    Returns:
        Where the part starts and ends; both are 0 if there is none.
    """
    last = len(text) - margin
    # Of each open bracket, the first and the last place after a comma; the same of an open string.
    open_parts: list[list[int]] = []
    string: list[int] | None = None
    for piece in _PIECE.finditer(text):
        character, place = piece[0], piece.end()
        if string is not None:
            if character == '"':
                string = None
            else:
                _add(string, piece, margin, last)
        elif character == '"':
            string = []
        elif character in "[{":
            open_parts.append([])
        elif character in "]}":
            if open_parts:
                open_parts.pop()
        elif character == "," and open_parts and margin <= place <= last:
            open_parts[-1].append(place)
    candidates = [part for part in (*open_parts, string or []) if part]
    if not candidates:
        return 0, 0
    widest = max(candidates, key=lambda part: part[-1] - part[0])
    return widest[0], widest[-1]


def _add(string: list[int], piece: re.Match[str], margin: int, last: int) -> None:
    """Note the places of a piece of a string where it may be cut."""
    start, end = piece.start(), piece.end()
    places = [end] if piece[0].startswith("\\") else [max(start, margin), min(end, last)]
    string += [place for place in places if start <= place <= end and margin <= place <= last]
