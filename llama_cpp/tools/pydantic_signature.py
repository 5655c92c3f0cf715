"""The signature of a function as pydantic reads it. Needs pydantic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError, validate_call
from pydantic.errors import PydanticSchemaGenerationError

from ..errors import InvalidArgumentError, ToolError
from .callables import innermost


class PydanticSignature:
    """The parameters of a function, of all types that pydantic knows.

    Args:
        function: The function.
        name: What models call it.

    Attributes:
        parameters: The JSON schema of its arguments.

    Raises:
        InvalidArgumentError: A parameter has no JSON schema, or no name.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        given: Any = _what_is_given_to(function)
        try:
            schema = TypeAdapter(given).json_schema()
            self._validated = validate_call(given)
        except (PydanticUserError, PydanticSchemaGenerationError, NameError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InvalidArgumentError(
                f"the parameters of {name!r} have no JSON schema: {reason}"
            ) from error
        if schema.get("type") != "object":
            raise InvalidArgumentError(
                f"{name!r} has parameters without a name (*args, or before a /): models give "
                "arguments by name"
            )
        self.parameters: dict[str, Any] = {
            **schema,
            "properties": {key: _untitled(each) for key, each in schema["properties"].items()},
        }

    def checked(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Convert arguments to the types of the function.

        Raises:
            ToolError: They are not what it takes.
        """
        try:
            given: tuple[tuple[Any, ...], dict[str, Any]] = self._validated(**arguments)
        except ValidationError as error:
            wrong = [_wrong(**each) for each in error.errors(include_url=False)]
            raise ToolError(f"the arguments are wrong: {'; '.join(wrong)}") from error
        return given


def _what_is_given_to(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with the same signature that returns its arguments.

    So what is wrong with them is known from what the function itself raises.
    """

    @wraps(innermost(function))
    def given(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs

    given.__wrapped__ = function
    given.__annotations__ = getattr(innermost(function), "__annotations__", {})  # builtins lack it
    return given


def _untitled(schema: Any) -> Any:
    # Pydantic's titles repeat the names, and models would have to read them.
    return {key: value for key, value in schema.items() if key != "title"}


def _wrong(*, loc: tuple[int | str, ...], msg: str, **_: Any) -> str:
    return f"{'.'.join(map(str, loc))}: {msg}"
