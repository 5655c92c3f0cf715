"""JSON schemas of the types that Python itself has, and their values of JSON.

Pydantic does this for every type, and is used where it is installed. Without it these go:
dataclasses, ``TypedDict``, ``Enum``, ``Literal``, ``list``, ``dict``, ``tuple``, unions, and the
types of JSON.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

import typing_extensions

from ..errors import InvalidArgumentError

Path = tuple[str | int, ...]


class Mismatch(Exception):  # noqa: N818 - is caught where the text is known
    """A value is not of a type.

    Args:
        path: Where.
        reason: What is wrong there.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path, self.reason = path, reason


class PlainType(ABC):
    """A type: its JSON schema, and how to make its values.

    Attributes:
        schema: Its JSON schema.
    """

    schema: dict[str, Any]

    @abstractmethod
    def convert(self, value: Any, path: Path) -> Any:
        """Make a value of the type.

        Args:
            value: What ``json.loads`` made.
            path: Where it stands.

        Raises:
            Mismatch: It is none.
        """


class _Scalar(PlainType):
    def __init__(self, name: str, kinds: tuple[type, ...]) -> None:
        self.schema = {"type": name}
        self._kinds = kinds

    def convert(self, value: Any, path: Path) -> Any:
        is_odd_bool = isinstance(value, bool) and bool not in self._kinds  # a bool is an int
        if not isinstance(value, self._kinds) or is_odd_bool:
            raise Mismatch(path, f"{value!r} is no {self.schema['type']}")
        return float(value) if isinstance(value, int) and float in self._kinds else value


class _Anything(PlainType):
    schema: typing.ClassVar[dict[str, Any]] = {}  # type: ignore[misc]

    def convert(self, value: Any, path: Path) -> Any:
        return value


class _Values(PlainType):
    """One of some values.

    Args:
        values: The objects, by what stands for them in JSON.
    """

    def __init__(self, values: Sequence[tuple[Any, Any]]) -> None:
        self.schema = {"enum": [value for value, _ in values]}
        self._values = values

    def convert(self, value: Any, path: Path) -> Any:
        for known, made in self._values:
            if known == value and type(known) is type(value):
                return made
        raise Mismatch(path, f"{value!r} is none of {self.schema['enum']}")


class _Array(PlainType):
    def __init__(self, items: PlainType, make: Callable[[list[Any]], Any] = list) -> None:
        self.schema = {"type": "array", "items": items.schema}
        self._items, self._make = items, make

    def convert(self, value: Any, path: Path) -> Any:
        if not isinstance(value, list):
            raise Mismatch(path, f"{value!r} is no array")
        made = [self._items.convert(each, (*path, n)) for n, each in enumerate(value)]
        return self._make(made)


class _Tuple(PlainType):
    def __init__(self, items: Sequence[PlainType]) -> None:
        self.schema = {
            "type": "array", "prefixItems": [each.schema for each in items],
            "minItems": len(items), "maxItems": len(items),
        }  # fmt: skip
        self._items = items

    def convert(self, value: Any, path: Path) -> Any:
        if not isinstance(value, list) or len(value) != len(self._items):
            raise Mismatch(path, f"{value!r} is no array of {len(self._items)} items")
        pairs = zip(self._items, value, strict=True)
        return tuple(item.convert(each, (*path, n)) for n, (item, each) in enumerate(pairs))


class _Map(PlainType):
    def __init__(self, values: PlainType) -> None:
        self.schema = {"type": "object", "additionalProperties": values.schema}
        self._values = values

    def convert(self, value: Any, path: Path) -> Any:
        if not isinstance(value, dict):
            raise Mismatch(path, f"{value!r} is no object")
        return {name: self._values.convert(each, (*path, name)) for name, each in value.items()}


class _Union(PlainType):
    def __init__(self, members: Sequence[PlainType]) -> None:
        self.schema = {"anyOf": [each.schema for each in members]}
        self._members = members

    def convert(self, value: Any, path: Path) -> Any:
        mismatches = []
        for member in self._members:
            try:
                return member.convert(value, path)
            except Mismatch as error:
                mismatches.append(error)
        # The member that went furthest is the one that was meant.
        raise max(mismatches, key=lambda error: len(error.path))


class _Record(PlainType):
    """A class with fields; it may have fields of its own class.

    Args:
        name: What its schema is called.
        make: Takes the fields by name.
    """

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        self.name = name
        self.schema = {"$ref": f"#/$defs/{name}"}
        self.fields: dict[str, PlainType] = {}
        self.required: list[str] = []
        self.description: str | None = None
        self._make = make

    @property
    def definition(self) -> dict[str, Any]:
        """What its name stands for."""
        described = {"description": self.description} if self.description else {}
        return {
            "type": "object", **described,
            "properties": {name: each.schema for name, each in self.fields.items()},
            "required": self.required, "additionalProperties": False,
        }  # fmt: skip

    def convert(self, value: Any, path: Path) -> Any:
        if not isinstance(value, dict):
            raise Mismatch(path, f"{value!r} is no object")
        for name in self.required:
            if name not in value:
                raise Mismatch((*path, name), "it is missing")
        made = {}
        for name, each in value.items():
            if name not in self.fields:
                raise Mismatch((*path, name), "there is no such field")
            made[name] = self.fields[name].convert(each, (*path, name))
        try:
            return self._make(**made)
        except (TypeError, ValueError) as error:  # of a check in __post_init__
            raise Mismatch(path, str(error)) from error


_SCALARS: Mapping[Any, tuple[str, tuple[type, ...]]] = {
    str: ("string", (str,)),
    bool: ("boolean", (bool,)),
    int: ("integer", (int,)),
    float: ("number", (int, float)),
    None: ("null", (types.NoneType,)),
    types.NoneType: ("null", (types.NoneType,)),
}
_JSON = (str, bool, int, float, types.NoneType)
# Those of Python 3.11 and later are the same objects.
_REQUIREDNESS = {typing_extensions.Required: True, typing_extensions.NotRequired: False}
_UNWRAPPED = {typing.Annotated, *_REQUIREDNESS}


class PlainTypes:
    """Reads a type, and those that it consists of.

    Args:
        form: The type.

    Raises:
        InvalidArgumentError: There is no JSON schema for it.
    """

    def __init__(self, form: Any) -> None:
        self._records: dict[Any, _Record] = {}
        self._root = self._read(form)
        self.schema: dict[str, Any] = dict(self._root.schema)
        if self._records:
            self.schema["$defs"] = {each.name: each.definition for each in self._records.values()}

    def convert(self, value: Any) -> Any:
        """Make a value of the type.

        Args:
            value: What ``json.loads`` made.

        Raises:
            Mismatch: It is none.
        """
        return self._root.convert(value, ())

    def _read(self, form: Any) -> PlainType:
        origin, arguments = typing.get_origin(form), typing.get_args(form)
        if origin in _UNWRAPPED:
            return self._read(arguments[0])
        if form is Any or form is object:
            return _Anything()
        if form in _SCALARS:
            return _Scalar(*_SCALARS[form])
        if origin in (Literal, typing_extensions.Literal):
            return self._values(form, [(each, each) for each in arguments])
        if origin in (Union, types.UnionType):
            return _Union([self._read(each) for each in arguments])
        base = origin or form
        if base in (list, Sequence, set, frozenset):
            make = base if base in (set, frozenset) else list
            return _Array(self._read(arguments[0] if arguments else Any), make)
        if base is tuple:
            return self._tuple(arguments)
        if base in (dict, Mapping):
            return self._map(form, arguments)
        return self._class(form)

    def _tuple(self, arguments: tuple[Any, ...]) -> PlainType:
        if not arguments or arguments[1:] == (Ellipsis,):
            return _Array(self._read(arguments[0] if arguments else Any), tuple)
        return _Tuple([self._read(each) for each in arguments])

    def _map(self, form: Any, arguments: tuple[Any, ...]) -> PlainType:
        if arguments and arguments[0] is not str:
            raise InvalidArgumentError(f"{form!r} has keys that are no texts, as those of JSON are")
        return _Map(self._read(arguments[1] if arguments else Any))

    def _class(self, form: Any) -> PlainType:
        if isinstance(form, type) and issubclass(form, enum.Enum):
            return self._values(form, [(each.value, each) for each in form])
        if form in self._records:
            return self._records[form]
        is_dataclass = isinstance(form, type) and dataclasses.is_dataclass(form)
        if not is_dataclass and not typing_extensions.is_typeddict(form):
            raise InvalidArgumentError(
                f"there is no JSON schema for {form!r}: give a dataclass, TypedDict, Literal, "
                "Enum, list, dict, a union of such, a JSON schema, or install pydantic (2 or "
                "later), which knows more types"
            )
        names = {each.name for each in self._records.values()}
        name = form.__name__
        while name in names:
            name += "_"
        record = self._records[form] = _Record(name, form)
        hints = _hints(form)
        if is_dataclass:
            fields = [each for each in dataclasses.fields(form) if each.init]
            record.fields = {each.name: self._read(hints[each.name]) for each in fields}
            record.required = [each.name for each in fields if _is_required(each)]
        else:
            record.fields = {key: self._read(hint) for key, hint in hints.items()}
            record.required = [key for key in hints if _is_required_key(form, key, hints[key])]
        return record

    def _values(self, form: Any, values: list[tuple[Any, Any]]) -> PlainType:
        wrong = next((value for value, _ in values if not isinstance(value, _JSON)), None)
        if not values or wrong is not None:
            raise InvalidArgumentError(f"{form!r} has the value {wrong!r}, which JSON cannot say")
        return _Values(values)


def _hints(form: type) -> dict[str, Any]:
    try:
        return typing_extensions.get_type_hints(form, include_extras=True)
    except NameError as error:
        raise InvalidArgumentError(f"the fields of {form!r} cannot be read: {error}") from None


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_required_key(form: Any, key: str, hint: Any) -> bool:
    # The class itself does not see what postponed annotations say.
    origin = typing.get_origin(hint)
    if origin in _REQUIREDNESS:
        return _REQUIREDNESS[origin]
    return key in form.__required_keys__
