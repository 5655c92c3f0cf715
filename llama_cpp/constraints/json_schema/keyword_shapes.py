"""What a JSON schema's keywords have to be, whether a grammar can honour them or not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ...errors import GrammarError
from .value_types import TYPES

_INT32_MAX = 2**31 - 1


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _INT32_MAX


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_schema, value))


def _are_named_schemas(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_schema, value.values()))


def _are_dependencies(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_schema(needed) or _are_names(needed) for needed in value.values()
    )


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_types(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not _are_names(names):
        return False
    return len(set(names)) == len(names) and set(names) <= set(TYPES)


Shape = tuple[Callable[[Any], bool], str]

_SCHEMA: Shape = (_is_schema, "a schema, which is an object")
_SCHEMAS: Shape = (_are_schemas, "a list of schemas, with at least one")
_NAMED: Shape = (_are_named_schemas, "an object that has a schema for each name")
_COUNT: Shape = (_is_count, f"a whole number from 0 to {_INT32_MAX}")
_NUMBER: Shape = (_is_number, "a number")
_NAMES: Shape = (_are_names, "a list of property names")
_TEXT: Shape = (lambda value: isinstance(value, str), "a text")
_FLAG: Shape = (lambda value: isinstance(value, bool), "true or false")

_SHAPES: dict[str, Shape] = {
    "type": (_are_types, f"one of {', '.join(TYPES)}, or a list of them"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list of values"),
    "items": (lambda value: _is_schema(value) or value == [] or _are_schemas(value), _SCHEMA[1]),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _SCHEMAS),
    **dict.fromkeys(
        ("not", "if", "then", "else", "contains", "propertyNames", "additionalProperties",
         "additionalItems", "unevaluatedProperties", "unevaluatedItems"), _SCHEMA,
    ),
    **dict.fromkeys(
        ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"), _NAMED
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
         "minContains", "maxContains"), _COUNT,
    ),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER
    ),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    **dict.fromkeys(("$ref", "$dynamicRef", "$recursiveRef", "pattern", "format"), _TEXT),
    "dependencies": (_are_dependencies, "an object that has a schema or names for each name"),
    "dependentRequired": (
        lambda value: isinstance(value, dict) and all(map(_are_names, value.values())),
        "an object that has a list of names for each name",
    ),
    "required": _NAMES,
    "uniqueItems": _FLAG,
}  # fmt: skip

_ORDERED = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minimum", "maximum"),
)


def misshapen(schema: dict[str, Any]) -> str | None:
    """Say what makes this no schema, apart from the schemas inside of it; None if it is one."""
    for keyword, value in schema.items():
        if keyword in _SHAPES:
            fits, expected = _SHAPES[keyword]
            if not fits(value):
                return f"{keyword} must be {expected}, not {_short(value)}"
    for low, high in _ORDERED:
        if low in schema and high in schema and schema[low] > schema[high]:
            return f"{low} is {schema[low]}, which is more than {high}, {schema[high]}"
    return None


def check_shapes(schema: Any, place: str, what: str, checked: set[int]) -> None:
    """Refuse what is no schema, there and inside.

    Args:
        schema: The schema.
        place: Where it is.
        what: What it is part of, for messages.
        checked: The ids of schemas that are known to be some; grows.

    Raises:
        GrammarError: It is no schema.
    """
    waiting = deque([(schema, place)])
    while waiting:
        schema, place = waiting.popleft()
        if isinstance(schema, bool) or id(schema) in checked:
            continue
        if not isinstance(schema, dict):
            problem: str | None = f"a schema must be an object, not {schema!r:.60}"
        else:
            checked.add(id(schema))
            problem = misshapen(schema)
        if problem:
            raise GrammarError(f"{what} at {place}: {problem}")
        waiting.extend((inner, joined(place, *way)) for way, inner in inner_schemas(schema))


def joined(place: str, *names: str) -> str:
    """The way to what stands inside of a place."""
    return "/".join((place, *(name.replace("~", "~0").replace("/", "~1") for name in names)))


def inner_schemas(schema: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every schema that stands right inside of another, with the way to it."""
    for keyword, value in schema.items():
        if keyword not in _SHAPES:
            continue
        shape = _SHAPES[keyword]
        if shape is _NAMED:
            yield from (((keyword, name), inner) for name, inner in value.items())
        elif shape is _SCHEMAS or (keyword == "items" and isinstance(value, list)):
            yield from (((keyword, str(i)), inner) for i, inner in enumerate(value))
        elif keyword == "dependencies":
            yield from (
                ((keyword, name), inner) for name, inner in value.items() if _is_schema(inner)
            )
        elif shape is _SCHEMA or keyword == "items":
            yield (keyword,), value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
