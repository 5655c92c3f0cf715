"""What an unfinished JSON text says so far.

Jiter and Pydantic can read one too, but neither is part of a base installation, and they take the
``1`` of an unfinished ``12`` for a number. Here a scanner finds where the text could be closed; the
reading is done by ``json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..errors import ReplyValidationError
from .schema_paths import least_length

NOTHING: Any = type("Nothing", (), {"__repr__": lambda self: "NOTHING"})()
"""The value of a text that says nothing yet, which None would not be."""

_HIGH_SURROGATES = frozenset(("d8", "d9", "da", "db"))
_CLOSERS = {"{": "}", "[": "]"}
_SPACE = " \t\n\r"


def partial_json(text: str, schema: Mapping[str, Any] | None = None) -> Any:
    """Return the value that an unfinished JSON text says so far.

    Arrays and objects have what is there already. A string is as long as it is; numbers, ``true``,
    ``false`` and ``null`` are there when they are whole, keys when their values are.

    Args:
        text: The beginning of a JSON text.
        schema: What the whole value satisfies. Strings of which it says more than how long they
            are (``enum``, ``pattern``, ``format``) are there when they are whole.

    Returns:
        ``NOTHING`` if there is no value yet.

    Raises:
        ReplyValidationError: No JSON begins like this.
    """
    partial = PartialJSON(schema)
    partial.add(text)
    return partial.value


class PartialJSON:
    """A JSON text that is being written: see ``partial_json``.

    Args:
        schema: What the whole value satisfies.
    """

    def __init__(self, schema: Mapping[str, Any] | None = None) -> None:
        self._schema = schema
        self._text = ""
        self._scanned = 0
        # The containers that are open: their closers, and where in each the text is.
        self._closers: list[str] = []
        self._places: list[str | int] = []
        self._end = 0  # up to where the text can be closed
        self._string_start = -1
        self._awaits_key = self._is_key = False
        # Of a string: how long it has to be to be shown before its end (None: never), and is.
        self._least: int | None = None
        self._length = 0
        self._escape = ""
        self._has_scalar = False

    def add(self, text: str) -> None:
        """Take more of the text."""
        self._text += text
        for position in range(self._scanned, len(self._text)):
            self._scan(self._text[position], position)
        self._scanned = len(self._text)

    def finish(self) -> None:
        """Know that the text is whole: a number at its end is too."""
        if self._has_scalar:
            self._end = len(self._text)

    @property
    def value(self) -> Any:
        """The value so far; ``NOTHING`` before there is one.

        Raises:
            ReplyValidationError: No JSON begins like this.
        """
        text = self._text[: self._end]
        if 0 <= self._string_start < self._end:
            text += '"'
        if not text.strip():
            return NOTHING
        try:
            return json.loads(text + "".join(reversed(self._closers)))
        except (ValueError, RecursionError) as error:
            raise ReplyValidationError(
                f"the text is no JSON: {error}", text=self._text, reason=str(error)
            ) from None

    def _scan(self, character: str, position: int) -> None:
        if self._string_start >= 0:
            self._scan_string(character, position)
            return
        if self._has_scalar and (character in _SPACE or character in ",]}"):
            self._has_scalar = False
            self._end = position
        if character == '"':
            self._string_start = position
            self._is_key = bool(self._closers) and self._closers[-1] == "}" and self._awaits_key
            self._least = None if self._is_key else least_length(self._schema, self._places)
            self._length = 0
            self._show_string(position)
        elif character in _CLOSERS:
            self._closers.append(_CLOSERS[character])
            self._places.append("" if character == "{" else 0)
            self._awaits_key = character == "{"
            self._end = position + 1
        elif character in "}]":
            del self._closers[-1:], self._places[-1:]
            self._end = position + 1
        elif character == "," and self._closers:
            self._awaits_key = self._closers[-1] == "}"
            if not self._awaits_key:
                self._places[-1] += 1  # type: ignore[operator]
        elif character == ":":
            self._awaits_key = False
        elif character not in _SPACE:
            self._has_scalar = True

    def _scan_string(self, character: str, position: int) -> None:
        if self._escape:
            self._escape += character
            if self._escape[1] == "u" and len(self._escape) < 6:
                return
            is_half = self._escape[1] == "u" and self._escape[2:4].lower() in _HIGH_SURROGATES
            self._escape = ""
            if is_half:
                return  # the other half comes next
        elif character == "\\":
            self._escape = "\\"
            return
        elif character == '"':
            self._end_string(position)
            return
        self._length += 1
        self._show_string(position)

    def _show_string(self, position: int) -> None:
        if self._least is not None and self._length >= self._least:
            self._end = position + 1

    def _end_string(self, position: int) -> None:
        if self._is_key:
            key = self._text[self._string_start : position + 1]
            with suppress(ValueError):  # it is told when there is a value
                self._places[-1] = json.loads(key)
        else:
            self._end = position + 1
        self._string_start = -1
