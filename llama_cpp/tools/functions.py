"""The signature of a Python function as a JSON schema, and arguments checked against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

from ..errors import InvalidArgumentError, LlamaError, ToolError


class FunctionSignature:
    """The parameters of a function.

    Args:
        function: The function.
        name: What models call it; None takes its own name.

    Attributes:
        name: What models call it.
        parameters: The JSON schema of its arguments.

    Raises:
        InvalidArgumentError: It is no function, has no name, or has parameters that have no JSON
            schema or no name.
        LlamaError: The pydantic package is not installed.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        if not callable(function):
            raise InvalidArgumentError(
                f"a tool is a function, a Tool or an MCPServer, not {function!r}"
            )
        self.name = name or _name(function)
        try:
            from pydantic import PydanticUserError, TypeAdapter, validate_call
            from pydantic.errors import PydanticSchemaGenerationError
        except ImportError:
            raise LlamaError(
                "the pydantic package is needed to make tools of functions: pip install pydantic"
            ) from None
        given: Any = _what_is_given_to(function)
        try:
            schema = TypeAdapter(given).json_schema()
            self._validated = validate_call(given)
        except (PydanticUserError, PydanticSchemaGenerationError, NameError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InvalidArgumentError(
                f"the parameters of {self.name!r} have no JSON schema: {reason}"
            ) from error
        if schema.get("type") != "object":
            raise InvalidArgumentError(
                f"{self.name!r} has parameters without a name (*args, or before a /): models give "
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
        from pydantic import ValidationError

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


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what has the annotations and the docstring."""
    inner: Any = function
    while isinstance(inner, partial):
        inner = inner.func
    # An object that can be called has them at its method.
    found: Callable[..., Any] = inner if hasattr(inner, "__name__") else inner.__call__
    return found


def _name(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):
        function = function.func
    name: str = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        raise InvalidArgumentError("a lambda has no name: use Tool.of(function, name=...)")
    return name


def _untitled(schema: Any) -> Any:
    # Pydantic's titles repeat the names, and models would have to read them.
    return {key: value for key, value in schema.items() if key != "title"}


def _wrong(*, loc: tuple[int | str, ...], msg: str, **_: Any) -> str:
    return f"{'.'.join(map(str, loc))}: {msg}"
