"""JSON that native code follows by functions that call themselves: how far down that goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..errors import InvalidArgumentError

NAME_MAX = 1024

# An unterminated string is one too, or a search would begin at each of its escaped quotes anew.
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(r"[][{}]")
# A std::regex goes over these and calls itself once per character of what it matches, or they
# have brackets of their own.
_PICKY_KEYS = frozenset({"$ref", "name"})
_PATTERN_PARENTHESES_MAX = 100
# The schema converter copies the names of an object's optional properties, which is n, n * n / 2
# times: 1.5 s in all.
_OPTIONAL_COPIES_MAX = 1000**3


def depth_of_json(text: str) -> int:
    """How deep a JSON text nests; its strings do not count."""
    return depth_of_brackets(_JSON_STRING.sub("", text))


def depth_of_brackets(text: str) -> int:
    """How deep the brackets of any text go, those in quotes too."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(text):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest


def levels(value: Any, what: str) -> int:
    """How many levels down native code may go in a JSON value.

    References inside of a schema are followed, and the call arguments inside of a conversation
    are JSON texts of their own.

    Args:
        value: The value, without circles.
        what: What it is, for messages.

    Raises:
        InvalidArgumentError: It has a name, a pattern or a number of optional properties that no
            native code would survive.
    """
    deepest = inner = references = copies = 0
    for key, child, depth in _walk(value):
        deepest = max(deepest, depth)
        if isinstance(child, dict) and isinstance(child.get("properties"), dict):
            optional = len(child["properties"]) - _required(child)
            copies += optional**3
            if copies > _OPTIONAL_COPIES_MAX:
                raise InvalidArgumentError(
                    f"{what} has too many optional properties, of which {optional} in one object: "
                    "list them under required, or split the object"
                )
        if len(key) > NAME_MAX or (
            key in _PICKY_KEYS and isinstance(child, str) and len(child) > NAME_MAX
        ):
            raise InvalidArgumentError(
                f"{what} has a name of more than {NAME_MAX} characters: {key[:40]!r}"
            )
        if key == "pattern" and isinstance(child, str):
            if child.count("(") > _PATTERN_PARENTHESES_MAX:
                raise InvalidArgumentError(
                    f"{what} has a pattern with more than {_PATTERN_PARENTHESES_MAX} parentheses"
                )
        elif key == "arguments" and isinstance(child, str):
            inner = max(inner, depth_of_json(child))
        references += key == "$ref"
    return (deepest + inner) * (references + 1)


def _required(schema: dict[str, Any]) -> int:
    """How many properties of an object are required."""
    names = schema.get("required")
    if not isinstance(names, list | tuple):
        return 0
    return len(schema["properties"].keys() & {name for name in names if isinstance(name, str)})


def _walk(value: Any) -> Iterator[tuple[str, Any, int]]:
    """Every value below, with its key ("" in a list) and its depth."""
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    while waiting:
        key, node, depth = waiting.pop()
        yield key, node, depth
        if isinstance(node, dict):
            waiting.extend((str(name), child, depth + 1) for name, child in node.items())
        elif isinstance(node, list | tuple):
            waiting.extend(("", child, depth + 1) for child in node)
