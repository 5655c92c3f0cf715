"""Grammars: what generated text has to look like, in GBNF or as a JSON schema."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import GrammarError, InvalidArgumentError
from ..handles.sampler_kinds import check_grammar
from .json_schema.converter import json_schema_to_gbnf

LLAMA_GRAMMAR_DEFAULT_ROOT = "root"
"""The rule that a text is derived from."""


class LlamaGrammar:
    """GBNF rules; the text is derived from the rule ``root``.

    Make one with ``from_string``, ``from_file`` or ``from_json_schema``, which find errors at once.

    Args:
        _grammar: The rules, which are not looked at before a sampler is made of them.
        args: Ignored, as are other keyword arguments: scripts pass what older versions took.
    """

    def __init__(self, *args: Any, _grammar: str | None = None, **kwargs: Any) -> None:
        if _grammar is None:
            raise InvalidArgumentError(
                "a grammar is made by LlamaGrammar.from_string('root ::= ...'), from_file(path) or "
                "from_json_schema(schema), not by calling LlamaGrammar"
            )
        self._grammar = _grammar
        self._root = LLAMA_GRAMMAR_DEFAULT_ROOT

    @property
    def rules(self) -> str:
        """The rules, in GBNF."""
        return self._grammar

    @property
    def root(self) -> str:
        """The rule that a text is derived from."""
        return self._root

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = True) -> LlamaGrammar:
        """Make a grammar of GBNF rules.

        Args:
            grammar: The rules. Names of tokens in them are looked up when a model is there.
            verbose: Kept for scripts; it changes nothing.

        Raises:
            GrammarError: They do not parse; the message tells line and column.
            TextError: They are no text, or hold a NUL character.
        """
        check_grammar(grammar, LLAMA_GRAMMAR_DEFAULT_ROOT)
        return cls(_grammar=grammar)

    @classmethod
    def from_file(cls, file: str | os.PathLike[str], verbose: bool = True) -> LlamaGrammar:
        """Read GBNF rules from a UTF-8 file.

        Args:
            file: Its path.
            verbose: Kept for scripts; it changes nothing.

        Raises:
            GrammarError: It is empty, not UTF-8, or no grammar.
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
    def from_json_schema(
        cls,
        json_schema: str | Mapping[str, Any],
        verbose: bool = True,
        *,
        allow_unsupported: bool = True,
    ) -> LlamaGrammar:
        """Make a grammar of JSON values that a JSON schema allows.

        Args:
            json_schema: The schema, as JSON text or as a dict.
            verbose: Kept for scripts; it changes nothing.
            allow_unsupported: Ignore keywords that no grammar can honour, with a warning; without
                it they are an error.

        Raises:
            GrammarError: It is no JSON schema, is too large, or has a keyword that must not be
                ignored.
            TextError: It is a text that holds a NUL character.
        """
        grammar = json_schema_to_gbnf(json_schema, allow_unsupported=allow_unsupported)
        return cls.from_string(grammar, verbose)
