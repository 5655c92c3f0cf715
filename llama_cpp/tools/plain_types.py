"""Types of parameters that need no library: their JSON schemas, and arguments made of JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from ..errors import InvalidArgumentError, ToolError

Convert: TypeAlias = Callable[[Any, str], Any]
"""Makes an argument of JSON's value; the text is where it stands, for the error."""


class PlainType(NamedTuple):
    """A type, as models and functions know it."""

    schema: dict[str, Any]
    convert: Convert


def plain_type(hint: Any) -> PlainType:
    """Return what a type hint stands for.

    Raises:
        InvalidArgumentError: It is not one of the plain ones.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:  # first, for what it holds may have no hash
        return plain_type(arguments[0])
    if hint is Any:
        return PlainType({}, lambda value, _: value)
    if hint in _SCALARS:
        return _scalar(hint)
    if origin is Literal:
        return _one_of({each: each for each in arguments})
    if origin in (Union, UnionType):
        return _union([plain_type(each) for each in arguments])
    if list in (hint, origin):
        return _list(plain_type(*arguments or [Any]))
    if dict in (hint, origin) and (arguments or (str,))[0] is str:
        return _dict(plain_type((arguments or (str, Any))[1]))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _one_of({each.value: each for each in hint})
    raise InvalidArgumentError(
        f"{hint!r} is no plain type: pydantic knows more of them (pip install pydantic)"
    )


_SCALARS = {
    str: ("string", (str,)),
    bool: ("boolean", (bool,)),
    int: ("integer", (int,)),
    float: ("number", (float,)),
    None: ("null", (NoneType,)),
    NoneType: ("null", (NoneType,)),
}


def _scalar(hint: Any) -> PlainType:
    name, types = _SCALARS[hint]

    def convert(value: Any, where: str) -> Any:
        # 3.0 is an integer in JSON; True is none, though it is in Python.
        if hint is int and isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool) and hint is float:
            return float(value)
        if not isinstance(value, types) or isinstance(value, bool) is not (hint is bool):
            raise _wrong(value, where, f"no {name}")
        return value

    return PlainType({"type": name}, convert)


def _one_of(members: dict[Any, Any]) -> PlainType:
    def convert(value: Any, where: str) -> Any:
        for known, member in members.items():
            if type(known) is type(value) and known == value:
                return member
        raise _wrong(value, where, f"none of {', '.join(map(repr, members))}")

    return PlainType({"enum": [*members]}, convert)


def _union(kinds: Sequence[PlainType]) -> PlainType:
    def convert(value: Any, where: str) -> Any:
        wrong: list[str] = []
        for kind in kinds:
            try:
                return kind.convert(value, where)
            except ToolError as error:
                wrong.append(error.message)
        raise ToolError(", and ".join(wrong))

    return PlainType({"anyOf": [kind.schema for kind in kinds]}, convert)


def _list(items: PlainType) -> PlainType:
    def convert(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise _wrong(value, where, "no array")
        return [items.convert(each, f"{where}.{index}") for index, each in enumerate(value)]

    return PlainType({"type": "array", "items": items.schema}, convert)


def _dict(values: PlainType) -> PlainType:
    def convert(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(value, where, "no object")
        return {key: values.convert(each, f"{where}.{key}") for key, each in value.items()}

    return PlainType({"type": "object", "additionalProperties": values.schema}, convert)


def _wrong(value: Any, where: str, what: str) -> ToolError:
    return ToolError(f"{where}: {value!r} is {what}")
