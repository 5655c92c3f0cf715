"""``Tool``: what a model may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ..errors import InvalidArgumentError
from .callables import innermost, name_of
from .docstrings import described
from .functions import FunctionSignature, signature_of
from .schema_checks import ArgumentsBySchema


class Arguments(NamedTuple):
    """What a function is called with, checked."""

    positional: tuple[Any, ...]
    named: Mapping[str, Any]


@dataclass(frozen=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: What the model calls it.
        description: What it does.
        parameters: A JSON schema of its arguments, of the type "object".
        function: Takes them by name, and may be asynchronous. What it returns becomes JSON, unless
            it is a text or ``ToolContent``; the model is told what it raises.

    Raises:
        InvalidArgumentError: There is no name or no function, or the schema is of another type.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any]
    _signature: FunctionSignature | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidArgumentError(f"a tool needs a name, not {self.name!r}")
        if not callable(self.function):
            raise InvalidArgumentError(
                f"the tool {self.name!r} needs a function, not {self.function!r}"
            )
        if not isinstance(self.parameters, Mapping) or self.parameters.get("type") != "object":
            raise InvalidArgumentError(
                f"the tool {self.name!r} needs a JSON schema of its arguments, like "
                f'{{"type": "object", "properties": {{...}}}}, not {self.parameters!r}'
            )

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> Tool:
        """Make a tool of a function: its signature and its docstring become the schema.

        Args:
            function: With type hints that pydantic knows; without it, of JSON's own types,
                ``Literal``, ``Enum`` and unions. Its docstring in Google's, NumPy's or Sphinx's
                style describes it and its parameters.
            name: What the model calls it; None takes that of the function.
            description: What it does; None takes its docstring.

        Raises:
            InvalidArgumentError: It is no function, has no name, or has parameters that have no
                JSON schema or no name.
        """
        if not callable(function):
            raise InvalidArgumentError(
                f"a tool is a function, a Tool or an MCPServer, not {function!r}"
            )
        name = name or name_of(function)
        signature = signature_of(function, name)
        about = described(innermost(function))
        parameters = about.with_descriptions(signature.parameters)
        text = about.text if description is None else description
        return cls(name, text, parameters, function, signature)

    @property
    def as_openai(self) -> dict[str, Any]:
        """The tool as ``create_chat_completion`` takes it."""
        function = {"name": self.name, "parameters": self.parameters}
        if self.description:
            function["description"] = self.description
        return {"type": "function", "function": function}

    def checked(self, arguments: Any) -> Arguments:
        """Check what a model gave, and convert it to the types of the function.

        Raises:
            ToolError: It does not satisfy the schema.
        """
        if self._signature is not None:
            return Arguments(*self._signature.checked(arguments))
        self._schema_check(arguments)
        return Arguments((), arguments)

    @cached_property
    def _schema_check(self) -> ArgumentsBySchema:
        return ArgumentsBySchema(self.parameters)
