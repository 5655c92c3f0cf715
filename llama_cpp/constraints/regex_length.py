"""How long a text has to be for a regular expression, without matching anything."""

from __future__ import annotations

import re

_ITEM = re.compile(
    r"""(?P<open>\((?:\?[a-zA-Z^-]*:|\?P?<\w+>)?)
    |(?P<close>\))
    |(?P<bar>\|)
    |\{(?P<least>\d+)[\d,\s]*\}\??
    |(?P<optional>[*?])\??
    |\+\??
    |(?P<one>\[\^?\]?(?:\\.|[^\]\\])*\]|\\[uUx]\{\w+\}|\\p\{\w+\}|\\.|.)""",
    re.VERBOSE | re.DOTALL,
)


def least_length(pattern: str) -> int:
    """Return how many characters a text that matches has at least, as far as that is easily told.

    What is forced by an expression is worked out character by character, so that one like
    ``(a{1000}){1000}`` takes seconds.

    Args:
        pattern: In Rust's syntax.
    """
    outer: list[list[list[int]]] = []
    # Of each alternative of a group, the least lengths of its items.
    alternatives: list[list[int]] = [[]]
    for match in _ITEM.finditer(pattern):
        items = alternatives[-1]
        if match["open"]:
            outer.append(alternatives)
            alternatives = [[]]
        elif match["close"] and outer:
            length = min(map(sum, alternatives))
            alternatives = outer.pop()
            alternatives[-1].append(length)
        elif match["bar"]:
            alternatives.append([])
        elif match["least"] and items:
            items[-1] *= int(match["least"])
        elif match["optional"] and items:
            items[-1] = 0
        elif match["one"]:
            items.append(1)
    return min(map(sum, alternatives))
