"""What a docstring says of a function and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any


@dataclass(frozen=True)
class Description:
    """A docstring, read.

    Attributes:
        text: What the function does.
        parameters: What its parameters are, by name.
    """

    text: str
    parameters: Mapping[str, str]

    def with_descriptions(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return a schema of arguments with the descriptions that it lacks."""
        properties = {
            name: _with_description(each, self.parameters.get(name))
            for name, each in schema.get("properties", {}).items()
        }
        return {**schema, "properties": properties}


def described(function: Callable[..., Any]) -> Description:
    """Read a function's docstring; all of it is the text without the docstring-parser package."""
    docstring = cleandoc(function.__doc__ or "")
    try:
        from docstring_parser import ParseError, parse
    except ImportError:
        return Description(docstring, {})
    try:
        parsed = parse(docstring)
    except ParseError:
        return Description(docstring, {})
    parameters = {each.arg_name: each.description or "" for each in parsed.params}
    return Description((parsed.description or "").strip(), parameters)


def _with_description(schema: Any, text: str | None) -> Any:
    # A reference may not have anything beside it in older drafts, but all readers allow it.
    if not text or not isinstance(schema, Mapping) or "description" in schema:
        return schema
    return {**schema, "description": text}
