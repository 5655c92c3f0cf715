"""Arguments against a JSON schema, for tools that are no Python functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import LlamaError, ToolError


class ArgumentsBySchema:
    """Checks arguments.

    Args:
        schema: Their JSON schema.

    Raises:
        LlamaError: The jsonschema package is not installed.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            from jsonschema.validators import validator_for
            from referencing import Registry
        except ImportError:
            raise LlamaError(
                "the jsonschema package is needed for tools with a schema of their own: "
                "pip install jsonschema"
            ) from None
        # An empty registry: a schema from elsewhere cannot make this process fetch something.
        self._validator: Any = validator_for(schema)(schema, registry=Registry())

    def __call__(self, arguments: Any) -> None:
        """Check.

        Raises:
            ToolError: They do not satisfy the schema, or it cannot be used.
        """
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            error = best_match(self._validator.iter_errors(arguments))
        except Unresolvable as missing:
            raise ToolError(
                f"the schema of the arguments has a $ref to {missing.ref}, which is not in it"
            ) from missing
        if error is not None:
            where = ".".join(map(str, error.absolute_path))
            raise ToolError(f"the arguments are wrong: {where and where + ': '}{error.message}")
