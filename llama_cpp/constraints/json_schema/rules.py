"""The rules that the engine's JSON schema converter starts from, and names that scripts import."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "DOT",
    "DOTALL",
    "ESCAPED_IN_REGEXPS_BUT_NOT_IN_LITERALS",
    "GRAMMAR_LITERAL_ESCAPES",
    "NON_LITERAL_SET",
    "PRIMITIVE_RULES",
    "RESERVED_NAMES",
    "SPACE_RULE",
    "STRING_FORMAT_RULES",
    "BuiltinRule",
]


class BuiltinRule:
    """A rule of the converter's own.

    Attributes:
        content: What stands to the right of ``::=``.
        deps: The names of the rules that it refers to.
    """

    def __init__(self, content: str, deps: Sequence[str] | None = None) -> None:
        self.content = content
        self.deps = list(deps or [])


SPACE_RULE = r'| " " | "\n"{1,2} [ \t]{0,20}'
"""White space between the parts of a JSON text; bounded, or a model may never go on."""

PRIMITIVE_RULES = {
    "boolean": BuiltinRule('("true" | "false")'),
    "decimal-part": BuiltinRule("[0-9]{1,16}"),
    "integral-part": BuiltinRule("[0] | [1-9] [0-9]{0,15}"),
    "number": BuiltinRule(
        '("-"? integral-part) ("." decimal-part)? ([eE] [-+]? [0-9]{1,2})?',
        ["integral-part", "decimal-part"],
    ),
    "integer": BuiltinRule('("-"? integral-part)', ["integral-part"]),
    "value": BuiltinRule(
        "object | array | string | number | boolean | null",
        ["object", "array", "string", "number", "boolean", "null"],
    ),
    "object": BuiltinRule(
        '"{" space ( string ":" space value ("," space string ":" space value)* )? space "}"',
        ["string", "value"],
    ),
    "array": BuiltinRule('"[" space ( value ("," space value)* )? space "]"', ["value"]),
    "uuid": BuiltinRule(
        r'"\"" [0-9a-fA-F]{8}' + ' "-" [0-9a-fA-F]{4}' * 3 + r' "-" [0-9a-fA-F]{12} "\""'
    ),
    "char": BuiltinRule(
        r'[^"\\\x7F\x00-\x1F] | [\\] (["\\bfnrt] | '
        '"u" ([0-9a-ce-fA-CE-F] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}))'
    ),
    "string": BuiltinRule(r'"\"" char* "\""', ["char"]),
    "null": BuiltinRule('"null"'),
}
"""What values without limits look like."""

STRING_FORMAT_RULES = {
    "date": BuiltinRule(
        '[0-9]{4} "-" ( "0" [1-9] | "1" [0-2] ) "-" ( "0" [1-9] | [1-2] [0-9] | "3" [0-1] )'
    ),
    "time": BuiltinRule(
        '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ( "." [0-9]{3} )? '
        '( "Z" | ( "+" | "-" ) ( [01] [0-9] | "2" [0-3] ) ":" [0-5] [0-9] )'
    ),
    "date-time": BuiltinRule('date "T" time', ["date", "time"]),
    "date-string": BuiltinRule(r'"\"" date "\""', ["date"]),
    "time-string": BuiltinRule(r'"\"" time "\""', ["time"]),
    "date-time-string": BuiltinRule(r'"\"" date-time "\""', ["date-time"]),
}
"""What strings of a known ``format`` look like."""

RESERVED_NAMES = frozenset({"root", "dot", *PRIMITIVE_RULES, *STRING_FORMAT_RULES})
"""Names that a property's own rule does not get."""

DOT = r"[^\x0A\x0D]"
"""Any character of a line."""

DOTALL = r"[\U00000000-\U0010FFFF]"
"""Any character."""

NON_LITERAL_SET = frozenset("|.()[]{}*+?^$")
"""Characters of a regular expression that do not stand for themselves."""

ESCAPED_IN_REGEXPS_BUT_NOT_IN_LITERALS = frozenset("^$.[]()|{}*+?")
"""Characters that lose their backslash on the way from a regular expression into a GBNF text."""

GRAMMAR_LITERAL_ESCAPES = {
    "\r": r"\r", "\n": r"\n", '"': r"\"", "-": r"\-", "]": r"\]", "\\": r"\\",
}  # fmt: skip
"""How characters are written in a GBNF text or class."""

# As in llama.cpp's converter; scripts import them from `llama_grammar`.
INVALID_RULE_CHARS_RE = re.compile(r"[^a-zA-Z0-9-]+")
GRAMMAR_LITERAL_ESCAPE_RE = re.compile(r'[\r\n"]')
