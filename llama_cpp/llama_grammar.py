"""Grammars: what generated text has to look like, in GBNF or as a JSON schema."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import GrammarError, InvalidArgumentError
from .handles.backend import bridge, take_string
from .handles.checks import c_string
from .handles.deep_stack import with_stack_for_levels
from .handles.json_limits import depth_of_json, levels

__all__ = ["LLAMA_GRAMMAR_DEFAULT_ROOT", "LlamaGrammar", "json_schema_to_gbnf"]

LLAMA_GRAMMAR_DEFAULT_ROOT = "root"
"""The rule that a text is derived from."""

_SCHEMA_BYTES_MAX = 1 << 20
_SCHEMA_DEPTH_MAX = 64

# What stands under these keys is data, in which the order of keys counts.
_DATA_KEYS = frozenset({"const", "default", "enum", "examples"})


class LlamaGrammar:
    """GBNF rules; the text is derived from the rule ``root``.

    The rules are parsed when a sampler for some model is made of them; ``GrammarError`` then says
    what is wrong with them.

    Args:
        _grammar: The rules.
        args: Ignored, as are other keyword arguments: scripts pass what older versions took.
    """

    def __init__(self, *args: Any, _grammar: str, **kwargs: Any) -> None:
        self._grammar = _grammar
        self._root = LLAMA_GRAMMAR_DEFAULT_ROOT

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = True) -> LlamaGrammar:
        """Make a grammar of GBNF rules.

        Args:
            grammar: The rules.
            verbose: Kept for scripts; it changes nothing.

        Raises:
            GrammarError: There are none.
        """
        if not grammar.strip():
            raise GrammarError("the grammar is empty: give at least a rule `root ::= ...`")
        return cls(_grammar=grammar)

    @classmethod
    def from_file(cls, file: str | os.PathLike[str], verbose: bool = True) -> LlamaGrammar:
        """Read GBNF rules from a UTF-8 file.

        Args:
            file: Its path.
            verbose: Kept for scripts; it changes nothing.

        Raises:
            GrammarError: It is empty, or not UTF-8.
            OSError: It cannot be read.
        """
        try:
            grammar = Path(file).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise GrammarError(f"the grammar file {file} is not UTF-8: {error}") from None
        if not grammar.strip():
            raise GrammarError(f"the grammar file {file} is empty")
        return cls.from_string(grammar, verbose)

    @classmethod
    def from_json_schema(cls, json_schema: str, verbose: bool = True) -> LlamaGrammar:
        """Make a grammar of the JSON values that a JSON schema allows.

        Args:
            json_schema: The schema, as JSON text.
            verbose: Kept for scripts; it changes nothing.

        Raises:
            GrammarError: It is not JSON, too large, or asks for what no grammar can say.
        """
        return cls.from_string(json_schema_to_gbnf(json_schema), verbose)


def json_schema_to_gbnf(schema: str, prop_order: Sequence[str] | None = None) -> str:
    """Translate a JSON schema to GBNF rules.

    Args:
        schema: The schema, as JSON text: at most 1 MiB, nested at most 64 deep.
        prop_order: Properties that come first in every object, in this order; the others follow
            in the order of the schema.

    Raises:
        GrammarError: It is not JSON, too large, or asks for what no grammar can say.
        TextError: It is no text, or holds a NUL character.
    """
    text = c_string(schema, "JSON schema")
    parsed = _parsed(text)
    if prop_order:
        order = {name: index for index, name in enumerate(prop_order)}
        text = json.dumps(_reordered(parsed, order)).encode()
    grammar, error = ctypes.c_char_p(), ctypes.c_char_p()
    function = bridge("bridge_json_schema_to_gbnf")
    try:
        with_stack_for_levels(
            levels(parsed, "the JSON schema"),
            "the JSON schema",
            lambda: function(text, ctypes.byref(grammar), ctypes.byref(error)),
        )
    except InvalidArgumentError as refused:
        raise GrammarError(str(refused)) from None
    if error:
        raise GrammarError(f"the JSON schema cannot be used: {take_string(error)}")
    return take_string(grammar)


def _parsed(schema: bytes) -> Any:
    """The schema, once it is known to be small and shallow enough for recursive code."""
    if len(schema) > _SCHEMA_BYTES_MAX:
        raise GrammarError(
            f"the JSON schema has {len(schema)} bytes, at most {_SCHEMA_BYTES_MAX} are allowed"
        )
    try:
        text = schema.decode("utf-8")
        if depth_of_json(text) > _SCHEMA_DEPTH_MAX:
            raise GrammarError(f"the JSON schema nests deeper than {_SCHEMA_DEPTH_MAX} levels")
        return json.loads(text)
    except GrammarError:
        raise
    except ValueError as error:
        raise GrammarError(f"the JSON schema is not JSON: {error}") from None


def _reordered(node: Any, order: dict[str, int]) -> Any:
    if isinstance(node, list):
        return [_reordered(child, order) for child in node]
    if not isinstance(node, dict):
        return node
    result = {
        key: value if key in _DATA_KEYS else _reordered(value, order) for key, value in node.items()
    }
    properties = result.get("properties")
    if isinstance(properties, dict):
        names = sorted(properties, key=lambda name: order.get(name, len(order)))
        result["properties"] = {name: properties[name] for name in names}
    return result
