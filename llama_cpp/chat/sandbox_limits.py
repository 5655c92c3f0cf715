"""How much a chat template that Python renders may take, and what its operations cost.

A text that one operation makes is at most a few times as long as its operands, and so counted when
it is there. What can be longer by far is estimated before: paddings, repetitions, formats.
"""

from __future__ import annotations

import re
import string
import sys
import time
from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, ValuesView
from contextvars import ContextVar
from typing import Any, Final

from jinja2 import TemplateError

_BYTES_MAX: Final = 512 << 20
_DEPTH_MAX: Final = 100
_INT_BITS_MAX: Final = 1 << 16
_CHARS_TO_STRIP_MAX: Final = 1000


class Budget:
    """What one rendering may still take.

    Args:
        seconds: How long it may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._bytes_left = _BYTES_MAX
        # Size and depth of lists and dicts, which are kept so that no other one gets their id.
        self._measured: dict[int, tuple[Any, int, int]] = {}

    def tick(self) -> None:
        """Look at the clock."""
        if time.monotonic() > self._deadline:
            raise TemplateError(f"the template takes too long: more than {self._seconds:g} s")

    def room(self, size: int) -> None:
        """Refuse to make so many bytes if they are too many."""
        if size > self._bytes_left:
            raise TemplateError(
                f"the template makes more than {_BYTES_MAX >> 20} MiB of texts and lists"
            )

    def charge(self, size: int) -> None:
        """Count bytes that were made."""
        self.room(size)
        self._bytes_left -= size

    def made(self, value: Any) -> Any:
        """Count a value that was made; returns it."""
        self.tick()
        self.size(value)
        self.charge(sys.getsizeof(value))
        return value

    def size(self, value: Any) -> int:
        """Estimate the bytes of a value with all that is in it, as often as it is in it."""
        return self._size_and_depth(value)[0]

    def _size_and_depth(self, value: Any) -> tuple[int, int]:
        if isinstance(value, str):
            return sys.getsizeof(value), 0
        if isinstance(value, int):
            check_digits(value.bit_length())
            return 32, 0
        items = _items(value)
        if items is None:
            return 64, 0
        if (known := self._measured.get(id(value))) is not None:
            return known[1:]
        size, depth = 64, 0
        for count, item in enumerate(items):
            if count % 1024 == 0:
                self.tick()
            inner_size, inner_depth = self._size_and_depth(item)
            size += inner_size
            depth = max(depth, inner_depth + 1)
            self.room(size)
        if depth > _DEPTH_MAX:
            raise TemplateError(f"lists are nested more than {_DEPTH_MAX} levels deep")
        self._measured[id(value)] = value, size, depth
        return size, depth


budget: ContextVar[Budget] = ContextVar("budget")


def _items(value: Any) -> Iterable[Any] | None:
    """What is inside a value, if it is something that prints all of it."""
    if isinstance(value, list | tuple | set | frozenset | KeysView | ValuesView | ItemsView):
        return value
    if isinstance(value, dict):
        return (part for pair in value.items() for part in pair)
    return None


def check_digits(bits: int) -> None:
    """Refuse numbers that take long to multiply or to divide by."""
    if bits > _INT_BITS_MAX:
        raise TemplateError("a number of the template has too many digits")


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Refuse ``left operator right`` if it would make too much."""
    if operator == "**" and isinstance(left, int) and isinstance(right, int):
        check_digits(left.bit_length() * abs(right))
    elif operator == "*":
        for value, times in ((left, right), (right, left)):
            if isinstance(value, str | list | tuple) and isinstance(times, int):
                once = sys.getsizeof(value) - sys.getsizeof(value[:0])
                budget.get().room(once * max(times, 0))
    elif operator == "%" and isinstance(left, str):
        _check_percent(left, right)


def check_braces(text: str, *arguments: Any) -> None:
    """Refuse ``text.format(*arguments)`` if it would make too much."""
    fields = 0
    for _, field, spec, _ in string.Formatter().parse(text):
        fields += field is not None
        if spec and ("{" in spec or re.search(r"\d{5}", spec)):
            raise TemplateError("a format has too large a width")
    budget.get().room(fields * budget.get().size(list(arguments)))


def _check_percent(text: Any, *arguments: Any) -> None:
    if re.search(r"%(\([^()%]*\))?[-+ #0-9.]*(\*|\d{5})", str(text)):
        raise TemplateError("a format has too large a width")
    budget.get().room(str(text).count("%") * budget.get().size(list(arguments)))


def _check_padded(text: Any, *arguments: Any) -> None:
    """Where each part of a text may become longer by an argument."""
    longest = 0
    for argument in arguments:
        for part in argument if isinstance(argument, tuple | list) else (argument,):
            longest = max(longest, len(part) if isinstance(part, str) else _absolute(part))
    budget.get().room(budget.get().size(text) * (1 + longest))


def _absolute(value: Any) -> int:
    return abs(value) if isinstance(value, int) else 0


def _check_replaced(text: Any, old: Any, new: Any, *_: Any) -> None:
    budget.get().room(str(text).count(str(old)) * len(str(new)) + budget.get().size(text))


def check_joined(separator: Any, items: Any) -> None:
    """Refuse ``separator.join(items)`` if it would make too much."""
    times = len(items) if isinstance(items, list | tuple) else 1
    budget.get().room(len(str(separator)) * times + budget.get().size(items))


def _check_split(text: Any, separator: Any = None, *_: Any) -> None:
    is_text = isinstance(separator, str) and separator
    budget.get().room(64 * (text.count(separator) if is_text else len(text) // 2))


def _check_characters(value: Any, *_: Any) -> None:
    budget.get().room(64 * len(value) if isinstance(value, str) else 0)


def _check_stripped(_text: Any, characters: Any = None, *_: Any) -> None:
    if isinstance(characters, str) and len(characters) > _CHARS_TO_STRIP_MAX:
        raise TemplateError(f"more than {_CHARS_TO_STRIP_MAX} characters to strip")


METHODS: Final[Mapping[str, Callable[..., None]]] = {
    "center": _check_padded, "ljust": _check_padded, "rjust": _check_padded,
    "zfill": _check_padded, "replace": _check_replaced, "join": check_joined,
    "split": _check_split, "rsplit": _check_split, "splitlines": _check_split,
    "strip": _check_stripped, "lstrip": _check_stripped, "rstrip": _check_stripped,
}  # fmt: skip
"""What to check before a method of a text is called."""

FILTERS: Final[Mapping[str, Callable[..., None]]] = {
    "center": _check_padded, "indent": _check_padded, "tojson": _check_padded,
    "truncate": _check_padded, "round": _check_padded, "replace": _check_replaced,
    "format": _check_percent, "trim": _check_stripped, "list": _check_characters,
    "sort": _check_characters, "unique": _check_characters,
}  # fmt: skip
"""What to check before a filter is called."""

# No chat template needs these; each takes time or memory out of proportion in a way of its own.
FILTERS_LEFT_OUT = (
    "batch", "slice", "sum", "pprint", "urlize", "striptags", "wordwrap", "xmlattr",
)  # fmt: skip
METHODS_LEFT_OUT = frozenset(
    ("encode", "expandtabs", "from_bytes", "maketrans", "to_bytes", "translate")
)
