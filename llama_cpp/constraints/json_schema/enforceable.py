"""JSON schemas as llguidance enforces them, what of them it does not, and a check of the rest."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ...errors import GrammarError
from .closing import closed
from .converter import THE_SCHEMA, parsed_schema
from .keyword_shapes import check_shapes
from .productive import check_productive
from .rewriting import Key, Rewriter
from .spots import root_spot

_TRIES_MAX = 4

# As json.dumps writes; an escape of a character that could be written plainly would let a property
# be written under another name.
STYLE = {
    "item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False,
    "json_allowed_escapes": 'nrbtf\\"',
}  # fmt: skip
"""How JSON is written: options of llguidance."""

# What llguidance says when keywords get in each other's way, and which of them to leave out.
_TOO_MUCH = (
    ("are not disjoint", ("patternProperties", "propertyNames")),
    ("only supported when all keys", ("minProperties", "maxProperties")),
)

# What has to be merged with a schema that may lead back to itself.
_MERGED = (
    "allOf", "dependentSchemas", "if", "not", "oneOf", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip


@dataclass(frozen=True)
class EnforceableSchema:
    """A JSON schema, and what of it can be enforced while a text is written."""

    schema: Any
    """The schema for llguidance."""
    unenforced: Mapping[str, str]
    """The place of each keyword that it does not have, and why."""
    whole: Any
    """The schema as it was given."""

    @property
    def rest(self) -> str:
        """What is not enforced, in words."""
        return "; ".join(f"{place}: {why}" for place, why in self.unenforced.items())

    @property
    def grammar(self) -> str:
        """The schema in llguidance's own form."""
        return _grammar(self.schema)

    def check(self, instance: Any) -> None:
        """Check a value against the whole schema.

        Args:
            instance: The value, as ``json.loads`` gives it.

        Raises:
            GrammarError: The schema does not allow it.
        """
        from jsonschema import Draft202012Validator, FormatChecker
        from jsonschema.exceptions import best_match
        from jsonschema.validators import extend, validator_for
        from referencing.exceptions import Unresolvable

        cls = validator_for(self.whole, default=Draft202012Validator)
        cls = extend(cls, {"multipleOf": _multiple_of, "pattern": _pattern})  # type: ignore[no-untyped-call]
        validator = cls(self.whole, format_checker=FormatChecker(_CHECKED_FORMATS))
        try:
            error = best_match(validator.iter_errors(instance))
        except BaseException as failed:
            # rpds, which jsonschema uses, panics where it meets the end of the stack.
            if not isinstance(
                failed, OverflowError | RecursionError | Unresolvable | re.error
            ) and (type(failed).__name__ != "PanicException"):
                raise
            raise GrammarError(f"the JSON cannot be checked by its schema: {failed}") from None
        if error is not None:
            raise GrammarError(
                f"the JSON does not fit its schema at {error.json_path}: {error.message:.300}"
            )


def _multiple_of(validator: Any, divisor: Any, instance: Any, schema: Any) -> Iterator[Exception]:
    """``multipleOf`` in decimals: 0.3 is three times 0.1, which it is not in binary."""
    from jsonschema import ValidationError

    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return
    if math.isinf(instance) or (Fraction(str(instance)) / Fraction(str(divisor))).denominator != 1:
        yield ValidationError(f"{instance!r} is not a multiple of {divisor}")


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Exception]:
    """``pattern``, where Python knows its syntax; what is enforced has a syntax of its own."""
    from jsonschema import ValidationError

    try:
        if isinstance(instance, str) and not re.search(pattern, instance):
            yield ValidationError(f"{instance!r} does not match {pattern!r}")
    except re.error:
        return


_CHECKED_FORMATS = ("date", "email", "ipv4", "ipv6", "uuid")


def enforceable(
    schema: Mapping[str, Any] | str | bool, what: str = THE_SCHEMA, *, closes: bool = False
) -> EnforceableSchema:
    """Find out what of a JSON schema can be enforced.

    Args:
        schema: The schema, as JSON text or as a dict: at most 1 MiB, nested at most 64 deep.
        what: What it is, for messages.
        closes: Whether objects have no other properties than those that it names: see ``closed``.

    Raises:
        GrammarError: It is no JSON schema, is too large, allows no value that ends, or has a
            pattern that is no regular expression.
    """
    parsed = parsed_schema(schema, what)
    check_shapes(parsed, "#", what, set())
    if closes:
        parsed = closed(parsed)
    root = root_spot(parsed)
    without: set[str] = set()
    circular: set[Key] = set()
    problem: str | None = ""
    for _ in range(_TRIES_MAX):
        rewriter = Rewriter(root, refusal, frozenset(without), frozenset(circular))
        try:
            rewritten = rewriter.document()
            check_productive(rewritten, what)
        except RecursionError:
            raise GrammarError(f"{what} leads back to itself in too many ways") from None
        problem = refusal(rewritten)
        if problem is None:
            return EnforceableSchema(rewritten, rewriter.unenforced, parsed)
        if "circular references" in problem:
            without.update(_MERGED if circular else ())
            circular = rewriter.circular()
        for said, keywords in _TOO_MUCH:
            if said in problem:
                without.update(_MERGED if without.issuperset(keywords) else keywords)
    if problem and problem.startswith("Unsatisfiable"):
        raise GrammarError(f"{what} allows no value: {problem.partition(': ')[2]:.300}")
    raise GrammarError(f"{what} is too complex: {problem:.300}")


def refusal(schema: Any) -> str | None:
    """Why llguidance does not take a schema, or None if it does."""
    from llguidance import LLMatcher

    is_error, messages = LLMatcher.validate_grammar_with_warnings(_grammar(schema))
    return messages[0] if is_error else None


def _grammar(schema: Any) -> str:
    from llguidance import LLMatcher

    if isinstance(schema, bool):
        schema = {} if schema else {"anyOf": [False]}
    options: dict[str, Any] = {**STYLE, "lenient": False}
    return LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=options)  # type: ignore[arg-type]
