"""What of one JSON schema alone, without those inside of it, a grammar cannot honour."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .patterns import REPETITIONS_MAX, unfaithful
from .value_types import KNOWN_FORMATS, Schema, canonical, is_of, kind_of, type_of, values_of

Problem = tuple[str, str]
"""A keyword that will be ignored, or "" where no grammar can be made at all; and why."""

_INTEGER_MAX = 10**16 - 1  # the engine writes 16 digits at most
_ITEMS_MAX = REPETITIONS_MAX - 2
_INT64_MIN, _INT64_MAX, _UINT64_MAX = -(2**63), 2**63 - 1, 2**64 - 1

# The kinds of values that a keyword says something about.
_CONSTRAINS = {
    **dict.fromkeys(
        ("properties", "required", "additionalProperties", "patternProperties", "propertyNames",
         "minProperties", "maxProperties", "dependentRequired", "dependentSchemas", "dependencies",
         "unevaluatedProperties"), "object",
    ),
    **dict.fromkeys(
        ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains",
         "unevaluatedItems"), "array",
    ),
    **dict.fromkeys(("pattern", "minLength", "maxLength"), "string"),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"
    ),
    **dict.fromkeys(
        ("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "not", "if", "const",
         "enum", "type"), "any",
    ),
}  # fmt: skip

# Other kinds honour what the checks of their own say.
_HONOURED = {
    "object": {"type", "properties", "required", "additionalProperties"},
    "array": {"type", "items", "prefixItems", "minItems", "maxItems"},
    "string": {"type", "pattern", "minLength", "maxLength"},
    "integer": {"type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"type"},
    "boolean": {"type"},
    "null": {"type"},
}

_HARMLESS: dict[str, tuple[Any, ...]] = {
    "minItems": (0,), "minLength": (0,), "minProperties": (0,), "pattern": ("",),
    "required": ([],), "uniqueItems": (False,), "not": (False,),
    "propertyNames": (True, {}, {"type": "string"}),
    **dict.fromkeys(
        ("patternProperties", "dependentRequired", "dependentSchemas", "dependencies"), ({},)
    ),
    **dict.fromkeys(
        ("additionalProperties", "unevaluatedProperties", "unevaluatedItems", "items"), (True, {})
    ),
}  # fmt: skip


def lost_keywords(schema: Schema, kind: str, honoured: set[str]) -> Iterator[Problem]:
    """Keywords that the converter does not look at in a schema of this kind.

    Args:
        schema: The schema.
        kind: What ``kind_of`` says of it.
        honoured: Keywords that turned out to say nothing that would be lost.
    """
    if kind in ("const", "enum"):
        concerned = {*_HONOURED} & set(map(type_of, values_of(schema) or []))
    elif kind in _HONOURED:
        concerned = {kind}
    else:
        concerned = set(_HONOURED)
    if "integer" in concerned:
        concerned.add("number")
    for keyword, value in schema.items():
        if (
            _CONSTRAINS.get(keyword) in {"any", *concerned}
            and keyword not in honoured
            and keyword not in _HONOURED.get(kind, ())
            and value not in _HARMLESS.get(keyword, ())
            and not (keyword == "if" and not schema.keys() & {"then", "else"})
        ):
            yield keyword, _reason(keyword, kind)


def _reason(keyword: str, kind: str) -> str:
    if kind in ("$ref", "oneOf", "anyOf", "const", "enum"):
        return f"it stands beside {kind}"
    if keyword == "allOf":
        return f"it stands beside the type {kind}, or its properties"
    if kind == "number" and keyword != "multipleOf" and _CONSTRAINS[keyword] == "number":
        return "only integers can have bounds"
    if kind == "any" and _CONSTRAINS[keyword] != "any":
        return f"say also that this is of type {_CONSTRAINS[keyword]}"
    return ""


def string_problems(schema: Schema) -> Iterator[Problem]:
    """Problems of a string's ``pattern``, ``format`` and lengths."""
    pattern = schema.get("pattern")
    has_format = schema.get("format") in KNOWN_FORMATS
    if pattern and (why := unfaithful(pattern)):
        yield "pattern", why
    if pattern and has_format:
        yield "format", "there is a pattern"
    for name in ("minLength", "maxLength"):
        length = schema.get(name)
        if length is None or (name, length) == ("minLength", 0):
            continue
        if pattern or has_format:
            yield name, f"there is a {'pattern' if pattern else 'format'}"
        elif length > REPETITIONS_MAX:
            yield _counts_to(name, length, REPETITIONS_MAX)


def array_problems(schema: Schema) -> Iterator[Problem]:
    """Problems of an array's number of items."""
    key = "items" if "items" in schema else "prefixItems"
    items = schema.get(key)
    for name, fewest in (("minItems", True), ("maxItems", False)):
        count = schema.get(name)
        if count is None:
            continue
        if isinstance(items, list):
            if len(items) < count if fewest else len(items) > count:
                yield name, f"there will be {len(items)}, as many as {key} has"
        elif count > _ITEMS_MAX:
            yield _counts_to(name, count, _ITEMS_MAX)
    if key == "items" and "prefixItems" in schema:
        yield "prefixItems", "leave items out: there will be as many as prefixItems has"


def _counts_to(name: str, count: int, most: int) -> Problem:
    if name.startswith("min"):
        return "", f"{name} is {count}, at most {most} go"
    return name, f"the engine counts to {most}"


def integer_problems(schema: Schema) -> Iterator[Problem]:
    """Problems of an integer's bounds."""
    for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if not _INT64_MIN <= schema.get(name, 0) <= _INT64_MAX:
            yield "", f"{name} is {schema[name]}, which is more than 64 bits hold"
            return
    least, most = _bounds(schema, "minimum"), _bounds(schema, "maximum")
    if least and most and max(least) > -max(most):
        yield "", "there is no integer between the bounds"
    for bounds, keyword in ((least, "exclusiveMinimum"), (most, "exclusiveMaximum")):
        if bounds and max(bounds) > _INTEGER_MAX:
            yield "", "the engine writes integers of at most 16 digits"
        # The converter takes the first one of each side.
        if bounds and max(bounds) > bounds[0]:
            yield keyword, f"there is a {keyword[9:].lower()} beside it"


def _bounds(schema: Schema, keyword: str) -> list[int]:
    """The least integers by ``minimum`` and its like; by ``maximum`` and its like, of -n."""
    sign = 1 if keyword == "minimum" else -1
    exclusive = f"exclusive{keyword.title()}"
    bounds = [math.ceil(sign * schema[keyword])] if keyword in schema else []
    if exclusive in schema:
        bounds.append(math.floor(sign * schema[exclusive]) + 1)
    return bounds


def values_problems(schema: Schema) -> Iterator[Problem]:
    """Problems of a ``const`` or ``enum``."""
    wanted = schema.get("type")
    types = [wanted] if isinstance(wanted, str) else wanted
    for value in values_of(schema) or []:
        if _has_wide_integer(value):
            yield "", "an integer has more than 64 bits"
        if types is not None and not is_of(value, types):
            yield "type", f"the value {value!r:.60} is of another one"
            return


def _has_wide_integer(value: Any) -> bool:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list | dict):
            waiting.extend(node.values() if isinstance(node, dict) else node)
        elif type(node) is int and not _INT64_MIN <= node <= _UINT64_MAX:
            return True
    return False


def object_problems(schema: Schema) -> Iterator[Problem]:
    """Problems of the names of an object's properties."""
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    open_ = schema.get("additionalProperties", "properties" not in schema) is not False
    for name in required:
        if name not in properties:
            yield "required", f"{name!r} is not among the properties"
    for name in properties:
        if open_ and not name:
            yield "additionalProperties", "there is a property without a name"
        if name == "*" and (open_ or name not in required):
            yield "properties", "the engine takes * for any other property"


def object_honours(schema: Schema) -> set[str]:
    """Keywords that every object of the properties satisfies by itself."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    honoured = set[str]()
    if schema.get("minProperties", 0) <= len(set(required) & properties.keys()):
        honoured.add("minProperties")
    if schema.get("additionalProperties", "properties" not in schema) is False:
        honoured.add("unevaluatedProperties")
        if schema.get("maxProperties", 0) >= len(properties):
            honoured.add("maxProperties")
    return honoured


def all_of_problems(parts: list[Schema]) -> Iterator[Problem]:
    """Problems of merging the parts of an ``allOf``, which are no references."""
    kinds = {kind_of(part) for part in parts}
    if kinds == {"enum"}:
        values = [list(map(canonical, part["enum"])) for part in parts]
        if not set.intersection(*map(set, values)):
            yield "", "the enums of allOf have no value in common"
        if any(len(set(each)) < len(each) for each in values):
            yield "", "an enum of allOf has the same value twice"
        return
    if "object" not in kinds or kinds - {"object", "any"}:
        yield "allOf", "its parts may only be objects with properties, or enums"
        return
    objects = [part for part in parts if kind_of(part) == "object"]
    names = set[str]()
    for part in objects:
        own = part.get("properties", {}).keys()
        if len(objects) > 1 and part.get("additionalProperties", True) not in (True, {}):
            yield "allOf", "a part excludes properties that others have (additionalProperties)"
        if names & own:
            yield "allOf", f"more than one part has the property {min(names & own)!r}"
        names |= own


def all_of_honours(schema: Schema, parts: list[Schema]) -> set[str]:
    """Keywords beside ``allOf`` that its merged parts satisfy by themselves."""
    names = {name for part in parts for name in part.get("properties", ())}
    required = {"required"} if names.issuperset(schema.get("required", ())) else set[str]()
    return {"allOf", "unevaluatedProperties", *required}


CHECKS: dict[str, Callable[[Schema], Iterable[Problem]]] = {
    "object": object_problems,
    "array": array_problems,
    "string": string_problems,
    "integer": integer_problems,
    "const": values_problems,
    "enum": values_problems,
}
"""What to ask for schemas of a kind."""
