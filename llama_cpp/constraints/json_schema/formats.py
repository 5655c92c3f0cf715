"""Formats of strings as regular expressions, where llguidance has none or a wider one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_FOURS = "0[48]|[2468][048]|[13579][26]"
_LEAP_YEAR = rf"(?:[0-9]{{2}}(?:{_FOURS})|(?:{_FOURS})00)"
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"  # Python has no year 0
_DATE = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    rf"|{_LEAP_YEAR}-02-29)"
)
_TIME = (
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_H16 = "[0-9a-fA-F]{1,4}"
_LS32 = f"(?:{_H16}:{_H16}|{_IPV4})"
# Where groups are left out, those before and after are fewer together.
_IPV6 = "|".join((
    f"(?:{_H16}:){{6}}{_LS32}",
    *(f"(?:(?:{_H16}:){{0,{4 - n}}}{_H16})?::(?:{_H16}:){{{n}}}{_LS32}" for n in range(5)),
    f"::(?:{_H16}:){{5}}{_LS32}",
    f"(?:(?:{_H16}:){{0,5}}{_H16})?::{_H16}",
    f"(?:(?:{_H16}:){{0,6}}{_H16})?::",
))  # fmt: skip
_POINTER = r"(?:/(?:[^~/]|~[01])*)*"

PATTERNS = {
    "date": f"^{_DATE}$",
    "date-time": f"^{_DATE}[tT]{_TIME}$",
    "time": f"^{_TIME}$",
    "ipv6": f"^(?:{_IPV6})$",
    "json-pointer": f"^{_POINTER}$",
    "relative-json-pointer": f"^(?:0|[1-9][0-9]*)(?:#|{_POINTER})$",
}
"""What stands in for a ``format``."""

NATIVE = frozenset({"duration", "email", "hostname", "ipv4", "uri", "uuid"})
"""Formats that llguidance knows."""

WITHOUT_PATTERN = frozenset(
    {"idn-email", "idn-hostname", "iri", "iri-reference", "regex", "uri-reference", "uri-template"}
)
"""Formats of the standard that are not enforced; other names are annotations."""

_CLASS = r"\[\^?(?:\\.|[^\]\\])+\]|\\[dwsDWS]"


def _negated(character_class: str) -> str:
    if character_class.startswith("\\"):
        return "\\" + character_class[1].swapcase()
    if character_class.startswith("[^"):
        return "[" + character_class[2:]
    return "[^" + character_class[1:]


_LOOK_AHEADS: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    # (?=...) says that the text begins like this.
    (re.compile(r"\(\?=((?:\\.|\[(?:\\.|[^\]\\])*\]|[^()\\\[])*)\)"), lambda found: f"^{found}"),
    # (?!^[...]*$) says that one character is none of these.
    (re.compile(rf"\(\?!\^?({_CLASS})[*+]\$\)"), _negated),
    # (?!.*[...]) says that all characters are others.
    (re.compile(rf"\(\?!\.\*({_CLASS})\)"), lambda found: f"^{_negated(found)}*$"),
)


def without_look_ahead(pattern: str) -> list[str]:
    """Split a pattern that begins with look-aheads into patterns that all have to match.

    Args:
        pattern: A regular expression.

    Returns:
        The patterns; one that still looks ahead could not be split.
    """
    parts: list[str] = []
    rest = pattern[1:] if pattern.startswith("^") else None
    while rest is not None and rest.startswith("(?"):
        for form, written in _LOOK_AHEADS:
            if match := form.match(rest):
                parts.append(written(match[1]))
                rest = rest[match.end() :]
                break
        else:
            break
    return [pattern] if not parts else [*parts, f"^{rest}"]


def other_than(texts: Iterable[str]) -> str:
    """A regular expression of all texts but these."""
    return f"^{_rest_other_than(sorted(set(texts)))}$"


def one_of(texts: Iterable[str]) -> str:
    """A regular expression of these texts."""
    return f"^(?:{'|'.join(map(re.escape, texts))})$"


def _rest_other_than(texts: list[str]) -> str:
    by_first: dict[str, list[str]] = {}
    for text in texts:
        if text:
            by_first.setdefault(text[0], []).append(text[1:])
    options = [f"{re.escape(first)}{_rest_other_than(by_first[first])}" for first in by_first]
    if "" not in texts:
        options.append("")
    firsts = "".join(f"\\u{{{ord(first):x}}}" for first in by_first)
    options.append(f"[^{firsts}](?s:.*)" if firsts else "(?s:.+)")
    return f"(?:{'|'.join(options)})"
