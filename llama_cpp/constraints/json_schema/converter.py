"""JSON schemas as GBNF rules, by the engine's converter."""

from __future__ import annotations

import ctypes
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from ...errors import GrammarError, InvalidArgumentError
from ...handles.deep_stack import with_stack_for_levels
from ...handles.json_limits import depth_of_json, levels
from ...native.backend import bridge, take_string
from ...validation.native_arguments import c_string
from .checks import SchemaCheck

__all__ = ["SchemaConverter", "check_json_schema", "json_schema_to_gbnf"]

_SCHEMA_BYTES_MAX = 1 << 20
_SCHEMA_DEPTH_MAX = 64
# In an object with more, the engine looks too long for each one.
_MEMBERS_MAX = 4096
_WHOLE_MAX = 2**53

# What stands under these keys is data, in which the order of keys counts.
_DATA_KEYS = frozenset({"const", "default", "enum", "examples"})

THE_SCHEMA = "the JSON schema"
"""What a schema is called in messages."""

_ROOT_STAND_IN = "root-schema"
_log = logging.getLogger("llama_cpp")


def json_schema_to_gbnf(
    schema: str | Mapping[str, Any],
    prop_order: Sequence[str] | None = None,
    *,
    allow_unsupported: bool = True,
) -> str:
    """Translate a JSON schema to GBNF rules.

    What the rules derive satisfies the schema but for what is ignored; ``docs/grammars.md`` says
    which valid values they do not derive.

    Args:
        schema: The schema, as JSON text or as a dict: at most 1 MiB, nested at most 64 deep.
        prop_order: Properties that come first in every object, in this order; the others follow
            in the order of the schema.
        allow_unsupported: Ignore keywords that no grammar can honour, with a warning in the log;
            without it they are an error.

    Raises:
        GrammarError: It is no JSON schema, is too large, or has a keyword that must not be ignored.
        TextError: It is a text that holds a NUL character.
    """
    parsed = _checked(schema, THE_SCHEMA, allow_unsupported)
    return str(_converted({"root": _reordered(parsed, prop_order or ())})["grammar"])


def check_json_schema(
    schema: Mapping[str, Any], what: str = THE_SCHEMA, *, allow_unsupported: bool = True
) -> dict[str, Any]:
    """Check that a grammar of a JSON schema admits nothing else.

    Args:
        schema: The schema.
        what: What it is, for messages: ``"tools[0].function.parameters"``.
        allow_unsupported: Keywords that no grammar can honour are only warned of in the log.

    Returns:
        A copy for the engine, without patterns that it would take for something else.

    Raises:
        GrammarError: It is no JSON schema, is too large, or has a keyword that cannot be honoured.
    """
    checked: dict[str, Any] = _checked(schema, what, allow_unsupported)
    return checked


class SchemaConverter:
    """The engine's converter, step by step.

    Args:
        prop_order: Properties that come first in every object, or a mapping of them to their rank.
        allow_fetch: Must be False: nothing is fetched.
        dotall: Changes nothing: a line break is always escaped in JSON.
        raw_pattern: Must be False: a ``pattern`` is one of a JSON string, quotation marks included.

    Raises:
        InvalidArgumentError: ``allow_fetch`` or ``raw_pattern`` is set.
    """

    def __init__(
        self,
        *,
        prop_order: Mapping[str, int] | Sequence[str],
        allow_fetch: bool,
        dotall: bool,
        raw_pattern: bool,
    ) -> None:
        if allow_fetch or raw_pattern:
            raise InvalidArgumentError("allow_fetch and raw_pattern are not supported: pass False")
        ranks = prop_order if isinstance(prop_order, Mapping) else {}
        self._order = sorted(prop_order, key=lambda name: ranks.get(name, 0))
        self._schemas: dict[str, Any] = {}

    def resolve_refs(self, schema: Any, url: str) -> Any:
        """Give the schema with references into itself that do not name its address.

        Args:
            schema: The schema.
            url: Its address.
        """
        if isinstance(schema, list):
            return [self.resolve_refs(each, url) for each in schema]
        if not isinstance(schema, dict):
            return schema
        return {
            key: value.removeprefix(url)
            if key == "$ref" and isinstance(value, str)
            else self.resolve_refs(value, url)
            for key, value in schema.items()
        }

    def visit(self, schema: Mapping[str, Any], name: str) -> str:
        """Add the rules of a schema.

        Args:
            schema: The schema.
            name: What to call its rule; empty for the one that texts are derived from.

        Returns:
            What the rule is called.

        Raises:
            GrammarError: It is no JSON schema, or has a keyword that cannot be honoured.
        """
        parsed = _reordered(_checked(schema, THE_SCHEMA, False), self._order)
        schemas = {**self._schemas, name or "root": parsed}
        rule = _converted(schemas)["rules"][name or "root"]
        self._schemas = schemas
        return str(rule)

    def format_grammar(self) -> str:
        """All rules, as GBNF."""
        return str(_converted(self._schemas)["grammar"])

    def not_literal(
        self, literal: str, dotall: bool = True, maybe_escaped_underscores: bool = False
    ) -> str:
        r"""GBNF for the beginning of a text that is not ``literal``, up to where it differs.

        Args:
            literal: What it is not.
            dotall: Changes nothing.
            maybe_escaped_underscores: ``\_`` may stand for ``_``.
        """
        rule = ""
        for character in reversed(literal):
            escaped = f"\\U{ord(character):08X}"
            same, other = f'"{escaped}"', f"[^{escaped}]"
            if character == "_" and maybe_escaped_underscores:
                same, other = r'("\\"? "_")', r"[^_\\]"
            rule = f"({other} | {same} {rule})" if rule else f"({other})"
        return rule


def _checked(schema: Any, what: str, allow_unsupported: bool) -> Any:
    """The schema as plain JSON values, in which nothing is left to refuse."""
    parsed = parsed_schema(schema, what)
    SchemaCheck(parsed, what, _log.warning if allow_unsupported else None).run()
    return parsed


def parsed_schema(schema: Any, what: str) -> Any:
    """Read a schema, once it is known to be small and shallow enough for recursive code.

    Args:
        schema: The schema, as JSON text or as a dict.
        what: What it is, for messages.

    Raises:
        GrammarError: It is not JSON, or too large.
    """
    try:
        if not isinstance(schema, str | bytes):
            schema = json.dumps(schema, allow_nan=False)
        text = c_string(schema, what).decode("utf-8")
        if len(text) > _SCHEMA_BYTES_MAX:
            raise GrammarError(f"{what} has {len(text)} characters, at most {_SCHEMA_BYTES_MAX} go")
        if depth_of_json(text) > _SCHEMA_DEPTH_MAX:
            raise GrammarError(f"{what} nests deeper than {_SCHEMA_DEPTH_MAX} levels")
        return json.loads(
            text, object_pairs_hook=_members, parse_constant=_no_number, parse_float=_number
        )
    except RecursionError:
        raise GrammarError(f"{what} nests deeper than {_SCHEMA_DEPTH_MAX} levels") from None
    except TypeError as error:
        raise GrammarError(f"{what} is not JSON: {error}") from None
    except (GrammarError, InvalidArgumentError):
        raise
    except ValueError as error:
        raise GrammarError(f"{what} is not JSON: {error}") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MEMBERS_MAX:
        raise ValueError(f"an object has {len(pairs)} members, at most {_MEMBERS_MAX} go")
    return dict(pairs)


def _number(digits: str) -> float | int:
    number = float(digits)
    if not math.isfinite(number):
        _no_number(digits)
    # The same number for a schema, and counts are whole ones.
    return int(number) if number.is_integer() and abs(number) < _WHOLE_MAX else number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON or the engine has")


def _converted(schemas: dict[str, Any]) -> dict[str, Any]:
    """What the bridge makes of schemas: the grammar, and the names of their rules."""
    if any("" in each.get("properties", ()) for each in objects_of(schemas.get("root"))):
        # The converter names the rule of a property "" like the schema it is in: like the root.
        named = {_ROOT_STAND_IN if name == "root" else name: each for name, each in schemas.items()}
        converted = _converted(named)
        rule = converted["rules"].pop(_ROOT_STAND_IN)
        converted["rules"]["root"] = "root"
        converted["grammar"] += f"root ::= {rule}\n"
        return converted
    result, error = ctypes.c_char_p(), ctypes.c_char_p()
    function = bridge("bridge_json_schemas_to_gbnf")
    try:
        text = json.dumps(schemas, allow_nan=False).encode()
        with_stack_for_levels(
            levels(schemas, THE_SCHEMA),
            THE_SCHEMA,
            lambda: function(text, ctypes.byref(result), ctypes.byref(error)),
        )
    except ValueError as refused:
        raise GrammarError(str(refused)) from None
    if error:
        raise GrammarError(f"the JSON schema cannot be used: {take_string(error)}")
    result_of_bridge: dict[str, Any] = json.loads(take_string(result))
    return result_of_bridge


def objects_of(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in a schema."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _reordered(node: Any, names: Iterable[str]) -> Any:
    order = {name: index for index, name in enumerate(names)}
    return _in_order(node, order) if order else node


def _in_order(node: Any, order: Mapping[str, int]) -> Any:
    if isinstance(node, list):
        return [_in_order(child, order) for child in node]
    if not isinstance(node, dict):
        return node
    result = {
        key: value if key in _DATA_KEYS else _in_order(value, order) for key, value in node.items()
    }
    properties = result.get("properties")
    if isinstance(properties, dict):
        known = sorted(properties, key=lambda name: order.get(name, len(order)))
        result["properties"] = {name: properties[name] for name in known}
    return result
