"""Random JSON schemas."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_NAMES = st.sampled_from(["a", "b", "ab", "c d", "é", ""])
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from([0.5, -1.25, 1e-3]),
    st.sampled_from(["", "a", "ab", "é\n", '"\\', "2024-02-29"]),
)  # fmt: skip
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner, max_size=2),
    max_leaves=3,
)
_COUNTS = st.integers(0, 3)
_PATTERNS = st.sampled_from(
    ["^a", "b$", "^[ab]{1,3}$", "a|b", r"^\d+$", r"\w", "^(?!x)", r"^(?=a)\S*$", r"^(?!.*[ab])c*$"]
)
_FORMATS = st.sampled_from(
    ["date", "time", "date-time", "ipv4", "ipv6", "uuid", "email", "duration", "uri", "other"]
)
_BOUNDS = st.one_of(st.integers(-20, 20), st.sampled_from([0.5, -1.5, 3.25]))
_TYPES = st.sampled_from(
    ["string", "number", "integer", "boolean", "null", "array", "object", ["string", "null"],
     ["integer", "array"]]
)  # fmt: skip


def _schema(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(_NAMES, inner, max_size=3)
    names = st.lists(_NAMES, max_size=2, unique=True)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": _TYPES, "const": _VALUES, "enum": st.lists(_VALUES, min_size=1, max_size=3),
        "minimum": _BOUNDS, "maximum": _BOUNDS, "exclusiveMinimum": _BOUNDS,
        "exclusiveMaximum": _BOUNDS, "multipleOf": st.sampled_from([1, 2, 5, 0.5, 0.01, 3]),
        "minLength": _COUNTS, "maxLength": st.integers(2, 9), "pattern": _PATTERNS,
        "format": _FORMATS, "items": inner, "prefixItems": some, "minItems": _COUNTS,
        "maxItems": _COUNTS, "uniqueItems": st.booleans(), "contains": inner,
        "minContains": _COUNTS, "maxContains": _COUNTS, "properties": named, "required": names,
        "additionalProperties": inner, "patternProperties": st.dictionaries(_PATTERNS, inner,
                                                                            max_size=2),
        "propertyNames": inner, "minProperties": _COUNTS, "maxProperties": _COUNTS,
        "dependentRequired": st.dictionaries(_NAMES, names, max_size=2),
        "dependentSchemas": st.dictionaries(_NAMES, inner, max_size=1), "not": inner,
        "if": inner, "then": inner, "else": inner, "allOf": some, "anyOf": some, "oneOf": some,
        "unevaluatedProperties": inner, "unevaluatedItems": inner,
        "$ref": st.sampled_from(["#", "#/$defs/d", "#/$defs/e"]),
    }  # fmt: skip
    picked = st.lists(st.sampled_from(sorted(keywords)), min_size=1, max_size=4, unique=True)
    return picked.flatmap(
        lambda chosen: st.fixed_dictionaries({keyword: keywords[keyword] for keyword in chosen})
    )


SCHEMAS = st.recursive(
    st.booleans() | _TYPES.map(lambda name: {"type": name}), _schema, max_leaves=6
)
"""Schemas of a few keywords, of which most allow something."""


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A schema with definitions that it may refer to."""
    schema: dict[str, Any] = draw(_schema(SCHEMAS))
    schema["$defs"] = {"d": draw(_schema(SCHEMAS)), "e": draw(SCHEMAS)}
    return schema
