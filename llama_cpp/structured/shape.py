"""``Shape``: what a reply has to be, given as a Python type or as a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeAlias

from ..errors import InvalidArgumentError, ReplyValidationError
from .paths import field_name
from .plain_types import Mismatch, PlainTypes

TypeOrSchema: TypeAlias = Any
"""A Pydantic model, dataclass, ``TypedDict``, ``Enum``, ``Literal[...]``, ``list[...]``,
``X | None`` or another type, or a JSON schema as a dict. No annotation of Python says that."""

_NAME_MAX = 60
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_OF_SCHEMAS = frozenset(("$ref", "$defs", "$schema", "anyOf", "oneOf", "allOf", "enum", "const",
                         "properties", "items"))  # fmt: skip


class _Reader(Protocol):
    """What knows a type."""

    schema: dict[str, Any]

    def read(self, text: str) -> Any:
        """Make a value of the type of JSON.

        Raises:
            Mismatch: It is none.
        """


class Shape:
    """What a reply has to be.

    Attributes:
        name: What it is called.
        schema: The JSON schema (draft 2020-12) that its text satisfies.
    """

    def __init__(self, name: str, reader: _Reader) -> None:
        self.name = name
        self.schema = reader.schema
        self._reader = reader

    @classmethod
    def of(cls, form: TypeOrSchema) -> Shape:
        """Read a type or a schema.

        Pydantic reads types where it is installed.

        Raises:
            InvalidArgumentError: There is no JSON schema for it.
        """
        if isinstance(form, Shape):
            return form
        if isinstance(form, Mapping):
            return cls(str(form.get("title", "value")), _OfSchema(form))
        # Aliases like list[str], unions and literals have arguments.
        if not (isinstance(form, type) or hasattr(form, "__args__") or form in (Any, None)):
            raise InvalidArgumentError(
                f"{form!r} must be a type, like a dataclass or list[str], or a JSON schema (dict)"
            )
        return cls(_name_of(form), _reader_of(form))

    @classmethod
    def of_response_format(cls, response_format: Any) -> Shape | None:
        """Read a ``response_format``; None if it is one of OpenAI's forms, or none at all.

        Raises:
            InvalidArgumentError: There is no JSON schema for it.
        """
        if response_format is None or isinstance(response_format, str):
            return None
        if isinstance(response_format, Mapping) and not is_schema(response_format):
            return None
        return cls.of(response_format)

    @property
    def response_format(self) -> dict[str, Any]:
        """What stands for it in OpenAI's requests.

        Not strict, for what no grammar can say is checked when the reply is there.
        """
        return {
            "type": "json_schema",
            "json_schema": {"name": self.name, "schema": self.schema, "strict": False},
        }

    def parse(self, text: str, finish_reason: str | None = "stop") -> Any:
        """Make an object of a reply.

        Args:
            text: The reply.
            finish_reason: Why it ended; where it was cut off, an error says so.

        Raises:
            ReplyValidationError: It is none; it says which field is wrong, and why.
        """
        advice = _ADVICE.get(finish_reason or "")
        try:
            value = self._reader.read(text)
            if advice and text[-1:].isdigit():
                raise Mismatch((), "the number may go on")
            return value
        except Mismatch as error:
            field, reason = field_name(error.path), error.reason
        where = f"its field {field}" if field else "it"
        if advice:
            reason = f"the reply was cut off ({reason})"
        raise ReplyValidationError(
            f"the reply is no {self.name}, {where} is wrong: {reason}{advice or ''}",
            text=text, field=field, reason=reason,
        )  # fmt: skip


_ADVICE = {
    "length": ": give a larger max_tokens, or a larger n_ctx",
    "timeout": " by its timeout or deadline",
}


def is_schema(mapping: Mapping[str, Any]) -> bool:
    """Whether a dict is a JSON schema, and not one of OpenAI's response formats."""
    kind = mapping.get("type")
    if kind is None:
        return not _OF_SCHEMAS.isdisjoint(mapping)
    return isinstance(kind, list) or kind in _TYPES


def _name_of(form: Any) -> str:
    if isinstance(form, type) and not hasattr(form, "__args__"):
        return form.__name__
    name = str(form).replace("typing.", "")
    return name if len(name) <= _NAME_MAX else "value of the type"


def _reader_of(form: Any) -> _Reader:
    try:
        from pydantic import TypeAdapter
    except ImportError:  # not installed, or its version 1
        return _OfPlainType(form)
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

    try:
        return _OfPydantic(TypeAdapter(form))
    except (PydanticUserError, PydanticInvalidForJsonSchema) as error:
        try:  # Pydantic does not take a TypedDict of older Pythons
            return _OfPlainType(form)
        except InvalidArgumentError:
            raise InvalidArgumentError(f"there is no JSON schema for {form!r}: {error}") from error


class _OfPydantic:
    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter
        self.schema = dict(_closed(adapter.json_schema()))

    def read(self, text: str) -> Any:
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_context=False)
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise Mismatch(tuple(wrong[0]["loc"]), wrong[0]["msg"] + more) from error


def _closed(schema: Any) -> Any:
    """A schema whose objects have the fields of their classes only, unless they say otherwise."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # What is below these are values and not schemas.
    closed = {
        key: value if key in ("default", "const", "enum", "examples") else _closed(value)
        for key, value in schema.items()
    }
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


class _OfPlainType:
    def __init__(self, form: Any) -> None:
        self._types = PlainTypes(form)
        self.schema = self._types.schema

    def read(self, text: str) -> Any:
        return self._types.convert(_loaded(text))


class _OfSchema:
    """A schema of the caller's own, whose values are what ``json.loads`` makes."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = dict(schema)

    def read(self, text: str) -> Any:
        value = _loaded(text)
        for path, reason in _violations(self.schema, value):
            raise Mismatch(path, reason)
        return value


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Mismatch((), f"it is no JSON: {error}") from None


def _violations(schema: Any, value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import best_match
        from jsonschema.validators import validator_for
        from referencing import Registry
        from referencing.exceptions import Unresolvable
    except ImportError:  # then it satisfies what the grammar could say
        return
    # An empty registry: a reference to an address is not fetched.
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(value))
    except (Unresolvable, RecursionError) as unresolvable:
        yield (), str(unresolvable)
        return
    if error is not None:
        yield tuple(error.absolute_path), error.message
