"""Grammars in GBNF that derive a regular language, as the regular expression of it.

llguidance has a mask for an expression in tens of microseconds; the engine's own grammars look at
each token of the vocabulary, and at each alternative for it. Rules that refer to themselves have no
expression in general, and stay with the engine.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import GrammarError
from ..handles.sampler_kinds import check_grammar
from . import guidance

_EXPRESSION_MAX = 1 << 20
"""Characters: rules that refer to rules that refer to rules grow without end."""

_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
    |(?P<define>(?P<name>[\w-]+)\s*::=)
    |(?P<rule>[\w-]+)
    |"(?P<literal>(?:[^"\\]|\\.)*)"
    |\[(?P<class>(?:[^\]\\]|\\.)*)\]
    |\{(?P<count>[\d,\s]*)\}
    |(?P<sign>[|()*+?.])""",
    re.VERBOSE | re.DOTALL,
)
_CHARACTER = re.compile(
    r"\\x(?P<x>[0-9a-fA-F]{2})|\\u(?P<u>[0-9a-fA-F]{4})|\\U(?P<U>[0-9a-fA-F]{8})|\\(?P<e>.)|(?P<c>.)",
    re.DOTALL,
)
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n"}


class _IrregularError(Exception):
    """There is no expression, or none that is worth it."""


class _Token(NamedTuple):
    kind: str
    text: str


@functools.lru_cache(maxsize=64)
def as_regex(rules: str, root: str = "root") -> str | None:
    """Return a regular expression, in Rust's syntax, of the texts that a grammar derives.

    Args:
        rules: GBNF that parses.
        root: The rule that a text is derived from.

    Returns:
        None if a rule refers to itself, a token is named, or the expression would be too long.
    """
    try:
        return _Rules(rules).expression(root)
    except _IrregularError:
        return None


@functools.lru_cache(maxsize=64)
def guided(rules: str, root: str = "root") -> guidance.GuidedText | None:
    """Return what llguidance makes of a grammar, or None if that cannot be had.

    Raises:
        GrammarError: The rules do not parse.
    """
    check_grammar(rules, root)
    expression = as_regex(rules, root)
    if not expression or not guidance.is_installed():
        return None
    try:
        return guidance.regex(expression)
    except GrammarError:
        return None


_REPEATING = [_Token("sign", each) for each in "*+?"]


class _Rules:
    """The rules of a grammar, each with its tokens."""

    def __init__(self, text: str) -> None:
        self._tokens: dict[str, list[_Token]] = {}
        self._expressions: dict[str, str] = {}
        self._open: set[str] = set()
        tokens: list[_Token] = []
        for token in _scanned(text):
            if token.kind == "name":
                tokens = self._tokens[token.text] = []
            else:
                tokens.append(token)

    def expression(self, name: str) -> str:
        """The expression of one rule."""
        if name not in self._expressions:
            if name in self._open or name not in self._tokens:
                raise _IrregularError
            self._open.add(name)
            tokens = self._tokens[name][::-1]
            self._expressions[name] = self._alternatives(tokens)
            self._open.discard(name)
        return self._expressions[name]

    def _alternatives(self, tokens: list[_Token]) -> str:
        """Take alternatives off the end of reversed tokens, up to a closing bracket."""
        alternatives = [""]
        while tokens:
            token = tokens.pop()
            if token == ("sign", ")"):
                break
            if token == ("sign", "|"):
                alternatives.append("")
            else:
                alternatives[-1] += self._item(token, tokens) + self._repetition(tokens)
        joined = "|".join(alternatives)
        if len(joined) > _EXPRESSION_MAX:
            raise _IrregularError
        return f"(?:{joined})"

    def _item(self, token: _Token, tokens: list[_Token]) -> str:
        kind, text = token
        if kind == "rule":
            return self.expression(text)
        if kind == "literal":
            return "(?:" + "".join(map(_escaped, _characters(text))) + ")"
        if kind == "class":
            return _class(text)
        if token == ("sign", "("):
            return self._alternatives(tokens)
        if token == ("sign", "."):
            return "(?s:.)"
        raise _IrregularError

    def _repetition(self, tokens: list[_Token]) -> str:
        if tokens and tokens[-1].kind == "count":
            return "{" + re.sub(r"\s", "", tokens.pop().text) + "}"
        if tokens and tokens[-1] in _REPEATING:
            return tokens.pop().text
        return ""


def _scanned(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:  # the name of a token, for example
            raise _IrregularError
        at = match.end()
        kind = match.lastgroup
        assert kind is not None
        if kind == "define":
            yield _Token("name", match["name"])
        elif kind != "space":
            yield _Token(kind, match[kind])


def _characters(text: str) -> Iterator[str]:
    for match in _CHARACTER.finditer(text):
        code = match["x"] or match["u"] or match["U"]
        if code:
            yield chr(int(code, 16))
        elif match["e"]:
            yield _ESCAPES.get(match["e"], match["e"])
        else:
            yield match["c"]


def _class(text: str) -> str:
    negated = text.startswith("^")
    written = [match[0] for match in _CHARACTER.finditer(text[negated:])]
    characters = [_escaped(next(_characters(each))) for each in written]
    parts: list[str] = []
    at = 0
    while at < len(written):
        is_range = at + 2 < len(written) and written[at + 1] == "-"
        parts.append(f"{characters[at]}-{characters[at + 2]}" if is_range else characters[at])
        at += 3 if is_range else 1
    if not parts:
        raise _IrregularError
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _escaped(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        raise _IrregularError
    is_plain = character.isascii() and character.isalnum()
    return character if is_plain else f"\\u{{{ord(character):x}}}"
