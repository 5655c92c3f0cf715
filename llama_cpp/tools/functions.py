"""The signature of a Python function as a JSON schema, and arguments checked against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .plain_signature import PlainSignature


class FunctionSignature(Protocol):
    """The parameters of a function."""

    parameters: dict[str, Any]

    def checked(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Convert arguments to the types of the function.

        Raises:
            ToolError: They are not what it takes.
        """


def signature_of(function: Callable[..., Any], name: str) -> FunctionSignature:
    """Read the signature of a function, by pydantic where it is installed.

    Args:
        function: The function.
        name: What models call it.

    Raises:
        InvalidArgumentError: A parameter has no JSON schema, or no name.
    """
    try:
        from .pydantic_signature import PydanticSignature
    except ImportError:
        return PlainSignature(function, name)
    return PydanticSignature(function, name)
