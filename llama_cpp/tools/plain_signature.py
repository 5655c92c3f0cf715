"""The signature of a function whose parameters have plain types, without any library."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from inspect import Parameter, Signature
from typing import Any

from ..errors import InvalidArgumentError, ToolError
from .plain_types import PlainType, plain_type


class PlainSignature:
    """The parameters of a function.

    Args:
        function: The function.
        name: What models call it.

    Attributes:
        parameters: The JSON schema of its arguments.

    Raises:
        InvalidArgumentError: A parameter has a type that is not plain, or no name.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        try:
            signature = Signature.from_callable(function, eval_str=True)
            self._types = {each.name: _type(each) for each in signature.parameters.values()}
        except (InvalidArgumentError, NameError, TypeError, ValueError) as error:
            raise InvalidArgumentError(
                f"the parameters of {name!r} have no JSON schema: {error}"
            ) from error
        given = signature.parameters.values()
        self._others = next((each.name for each in given if each.kind is each.VAR_KEYWORD), None)
        named = [each for each in given if each.name != self._others]
        self._required = [each.name for each in named if each.default is Parameter.empty]
        self.parameters: dict[str, Any] = {
            "type": "object",
            "properties": {each.name: _schema(each, self._types[each.name]) for each in named},
            "required": self._required,
        }
        if self._others is None:
            self.parameters["additionalProperties"] = False

    def checked(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Convert arguments to the types of the function.

        Raises:
            ToolError: They are not what it takes.
        """
        wrong = [f"{name}: is missing" for name in self._required if name not in arguments]
        converted: dict[str, Any] = {}
        for name, value in arguments.items():
            known = name if name in self.parameters["properties"] else self._others
            try:
                if known is None:
                    raise ToolError(f"{name}: there is no such argument")
                converted[name] = self._types[known].convert(value, name)
            except ToolError as error:
                wrong.append(error.message)
        if wrong:
            raise ToolError(f"the arguments are wrong: {'; '.join(wrong)}")
        return (), converted


def _type(parameter: Parameter) -> PlainType:
    if parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL):
        raise InvalidArgumentError(
            f"{parameter} has no name to be given by, and models give arguments by name"
        )
    hint = parameter.annotation
    return plain_type(Any if hint is Parameter.empty else hint)


def _schema(parameter: Parameter, kind: PlainType) -> dict[str, Any]:
    if parameter.default is not Parameter.empty:
        with suppress(TypeError, ValueError):
            json.dumps(parameter.default, allow_nan=False)
            return {**kind.schema, "default": parameter.default}
    return kind.schema
