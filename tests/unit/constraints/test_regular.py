"""Grammars as regular expressions: the same texts, or none."""

from __future__ import annotations

import re

import pytest

from llama_cpp.constraints.regular import as_regex

SAME = {
    'root ::= "yes" | "no"': (["yes", "no"], ["", "yesno", "ye"]),
    'root ::= a{2} a{1,} "."\na ::= [x-z]': (["xyz.", "zzzzz."], ["xy.", "xyz"]),
    'root ::= ("a" | b)*\nb ::= [^x\\]-] .  # a | here\n': (["", "aab\n"], ["x1", "-1", "]"]),
    'root ::= "\\"" [a\\-c]? "\\\\" "\\x41\\u00e9\\U0001F600\\n"': (['"-\\Aé😀\n'], ['"b\\Aé😀\n']),
    'root ::= ( "a"\n | "b" ) [-z]+ ': (["a-", "bz-"], ["ay"]),
    'root ::= "a."  [.*] "a"?': (["a..", "a.*a"], ["ab.", "a.aa"]),
    'first ::= "1"\nroot ::= first first | ""': (["11", ""], ["1", "111"]),
}  # fmt: skip


def as_python(expression: str) -> str:
    return re.sub(r"\\u\{(\w+)\}", lambda m: f"\\U{int(m[1], 16):08x}", expression)


@pytest.mark.parametrize("rules", SAME)
def test_the_expression_matches_what_the_rules_derive(rules: str) -> None:
    expression = as_regex(rules)
    assert expression is not None
    pattern = re.compile(as_python(expression))
    derived, others = SAME[rules]
    assert [each for each in derived if not pattern.fullmatch(each)] == []
    assert [each for each in others if pattern.fullmatch(each)] == []


@pytest.mark.parametrize(
    "rules",
    [
        'root ::= "(" root ")" | "x"',
        'root ::= a\na ::= "x" b\nb ::= a | "y"',
        'root ::= <[3]> "a"',
        'root ::= <think> "a"',
        'root ::= "\\uD800"',
        "root ::= missing",
        "\n".join(f"r{n} ::= r{n + 1} r{n + 1} r{n + 1} r{n + 1}" for n in range(30))
        + '\nr30 ::= "a"\nroot ::= r0',
    ],
)
def test_what_has_no_expression_stays_with_the_engine(rules: str) -> None:
    assert as_regex(rules) is None
