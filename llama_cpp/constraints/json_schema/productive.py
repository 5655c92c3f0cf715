"""Whether a schema allows a value that ends."""

from __future__ import annotations

from typing import Any

from ...errors import GrammarError
from .recursion import Needs, all_stuck


def check_productive(schema: Any, what: str) -> None:
    """Refuse a schema whose values hold one another without end.

    Args:
        schema: The schema, with all references into ``#/$defs/``.
        what: What it is, for messages.

    Raises:
        GrammarError: No value of it ends.
    """
    if not isinstance(schema, dict):
        return
    needs: Needs = {}
    _note(schema, "#", needs)
    for name, inner in schema.get("$defs", {}).items():
        _note(inner, f"#/$defs/{name}", needs)
    if "#" in all_stuck(needs):
        raise GrammarError(
            f"{what} allows no value that ends: each has to hold another one, and so on; make the "
            "property that leads back optional"
        )


def _note(schema: Any, place: str, needs: Needs) -> None:
    """Note what a value of a schema has to hold."""
    needs[place] = (True, [])
    if not isinstance(schema, dict):
        return
    parts = [schema["$ref"]] if "$ref" in schema else []
    inner = {f"{place}/allOf/{i}": each for i, each in enumerate(schema.get("allOf", ()))}
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name in properties:
                inner[f"{place}/properties/{name}"] = properties[name]
    fewest = schema.get("minItems", 0)
    if schema.get("type") == "array" and fewest:
        prefix = schema.get("prefixItems", [])[:fewest]
        inner.update({f"{place}/prefixItems/{i}": each for i, each in enumerate(prefix)})
        if fewest > len(prefix) and "items" in schema:
            inner[f"{place}/items"] = schema["items"]
    parts += inner
    if "anyOf" in schema:
        options = {f"{place}/anyOf/{i}": each for i, each in enumerate(schema["anyOf"])}
        inner.update(options)
        parts.append(f"{place}/anyOf")
        needs[f"{place}/anyOf"] = (False, list(options))
    needs[place] = (True, parts)
    for where, each in inner.items():
        _note(each, where, needs)
