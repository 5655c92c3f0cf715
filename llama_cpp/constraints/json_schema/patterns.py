"""Which regular expressions of a JSON schema the engine's converter translates faithfully.

It hands characters and classes on as they are, so JSON must not have to escape any of them.
"""

from __future__ import annotations

import re

from .rules import ESCAPED_IN_REGEXPS_BUT_NOT_IN_LITERALS, NON_LITERAL_SET

REPETITIONS_MAX = 2000
"""Above so many the engine takes a repetition for one without end; llama-grammar.cpp has it."""

_DEPTH_MAX = 100  # MAX_PATTERN_DEPTH in json-schema-to-grammar.cpp
_REPETITION = re.compile(r"\{(\d{1,9})(,(\d{0,9}))?\}")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROLS = {"t": 9, "n": 10, "r": 13}
_SHORTHANDS = {"d": "[0-9]", "w": "[A-Za-z0-9_]", "s": "a space"}


class _UnfaithfulError(Exception):
    """Why a pattern cannot be translated."""


def unfaithful(pattern: str) -> str | None:
    """Say why a pattern cannot be honoured, or None if it can.

    Args:
        pattern: A regular expression.
    """
    try:
        _Pattern(pattern).check()
    except _UnfaithfulError as error:
        return str(error)
    return None


class _Pattern:
    """One walk along a pattern; ``_run`` imitates how the converter joins characters to texts."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) < 2 or pattern[0] != "^" or pattern[-1] != "$":
            raise _UnfaithfulError("it must begin with ^ and end with $")
        self._text = pattern[1:-1]
        self._at = 0
        self._depth = 0
        # Characters of the text so far; a quantifier would repeat all of them.
        self._run = 0
        self._repeatable = False

    def check(self) -> None:
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "[":
                self._class()
            elif character in "()":
                self._parenthesis(character)
            elif character in "*+?{":
                self._quantifier(character)
            elif character == "\\":
                self._allow(self._escape(self._text, in_class=False))
                self._run += 1
                self._repeatable = True
            elif character in ".|":
                self._after_item(repeatable=character == ".")
            elif character in NON_LITERAL_SET:
                raise _UnfaithfulError(f"it has a {character} inside: write \\{character}")
            else:
                self._character(character)
        if self._depth:
            raise _UnfaithfulError("a parenthesis is not closed")

    def _after_item(self, *, repeatable: bool) -> None:
        self._at += 1
        self._run = 0
        self._repeatable = repeatable

    def _character(self, character: str) -> None:
        self._allow(ord(character))
        self._at += 1
        following = self._text[self._at : self._at + 1]
        if self._run and following in NON_LITERAL_SET and following != ".":
            self._run = 0
        # A character of several bytes would be torn apart.
        self._run += len(character.encode())
        self._repeatable = True

    def _parenthesis(self, character: str) -> None:
        if character == ")":
            if not self._depth:
                raise _UnfaithfulError("a parenthesis is not opened")
            self._depth -= 1
            self._after_item(repeatable=True)
            return
        if self._text.startswith("(?:", self._at):
            self._at += 2
        elif self._text.startswith("(?", self._at):
            raise _UnfaithfulError("groups that begin with (? are not known, other than (?:")
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise _UnfaithfulError(f"it nests deeper than {_DEPTH_MAX} parentheses")
        self._after_item(repeatable=False)

    def _quantifier(self, character: str) -> None:
        if not self._repeatable:
            raise _UnfaithfulError(f"there is nothing that the {character} could repeat")
        if self._run > 1:
            raise _UnfaithfulError(f"before the {character}, put what it repeats into parentheses")
        if character == "{":
            match = _REPETITION.match(self._text, self._at)
            if not match:
                raise _UnfaithfulError("{ must be followed by one number or two: {2,5}")
            low, high = int(match[1]), int(match[3] or match[1])
            if max(low, high) > REPETITIONS_MAX:
                raise _UnfaithfulError(f"it repeats more than {REPETITIONS_MAX} times")
            if low > high:
                raise _UnfaithfulError(f"{match[0]} has a minimum above its maximum")
            self._at = match.end() - 1
        self._after_item(repeatable=False)

    def _class(self) -> None:
        end = self._at + 1
        negated = self._text.startswith("^", end)
        end += negated
        self._at = end
        while self._at < len(self._text) and self._text[self._at] != "]":
            first = self._member()
            last = first
            if re.match(r"-[^\]]", self._text[self._at : self._at + 2]):
                self._at += 1
                last = self._member()
            if last < first:
                raise _UnfaithfulError("a range ends before it begins")
            if not negated:
                self._allow(first, last)
        if self._at >= len(self._text):
            raise _UnfaithfulError("a [ is not closed")
        if self._at == end:
            raise _UnfaithfulError("a class is empty")
        self._after_item(repeatable=True)

    def _member(self) -> int:
        if self._text[self._at] == "\\":
            return self._escape(self._text, in_class=True)
        self._at += 1
        return ord(self._text[self._at - 1])

    def _escape(self, text: str, *, in_class: bool) -> int:
        """The character that an escape stands for."""
        match = _ESCAPE.match(text, self._at)
        if not match:
            raise _UnfaithfulError("it ends with a backslash")
        self._at = match.end()
        if match[1] or match[2]:
            return int(match[1] or match[2], 16)
        if match[3] in _CONTROLS:
            return _CONTROLS[match[3]]
        known = '\\"[]-' + ("" if in_class else "".join(ESCAPED_IN_REGEXPS_BUT_NOT_IN_LITERALS))
        if match[3] not in known:
            plain = _SHORTHANDS.get(match[3]) or (match[3] if not match[3].isalnum() else "it out")
            raise _UnfaithfulError(f"\\{match[3]} is not known: write {plain}")
        return ord(match[3])

    @staticmethod
    def _allow(first: int, last: int | None = None) -> None:
        """Refuse characters that a JSON text has to escape, or that are none."""
        last = first if last is None else last
        for low, high, what in (
            (0, 0x1F, "control characters"),
            (0x22, 0x22, "a quotation mark"),
            (0x5C, 0x5C, "a backslash"),
            (0xD800, 0xDFFF, "half a surrogate pair"),
        ):
            if first <= high and last >= low:
                raise _UnfaithfulError(f"it admits {what}, which JSON has to escape")
