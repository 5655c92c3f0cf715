"""Regular expressions of JSON schemas that can become a grammar, and why others cannot."""

from __future__ import annotations

import pytest

from llama_cpp.constraints.json_schema.patterns import unfaithful

FAITHFUL = (
    "^$", "^a$", "^abc|d$", "^(a|b|)*$", "^(?:ab){2,3}$", "^a+b*c?d{0}e{1,}$", "^[a-z0-9_]+$",
    "^[^a]$", "^[^\\n\"\\\\]$", "^[-a]$", "^[a-]$", "^[\\]\\[\\-]$", "^.$", "^.{1,2000}$", "^()$",
    "^\\.\\*\\(\\)\\[\\]\\{\\}\\|\\^\\$\\+\\?$", "^a\\.b$", "^\\x41\\u00e9$", "^é日(é)*$",
    "^a\\.(b)*$", "^a/b-c d$", "^" + "(" * 100 + ")" * 100 + "$", "^[[]$", "^[\\x30-\\x39]$",
)  # fmt: skip
UNFAITHFUL = (
    ("", "begin with ^ and end with $"), ("a", "begin with"), ("^a", "begin with"),
    ("a$", "begin with"), ("$", "begin with"), ("^a\\$", "ends with a backslash"),
    ("^\\d$", "write [0-9]"), ("^\\w+$", "write [A-Za-z0-9_]"), ("^\\s$", "write a space"),
    ("^\\/$", "\\/ is not known: write /"), ("^\\bx$", "\\b is not known: write it out"),
    ("^\\p{L}$", "\\p is not known"), ("^(a)\\1$", "\\1 is not known"), ("^[\\d]$", "write [0-9]"),
    ("^[\\.]$", "\\. is not known: write ."), ("^\\u12$", "\\u is not known"),
    ("^(?=a)$", "groups that begin with (?"), ("^(?P<x>a)$", "groups"), ("^(?i)a$", "groups"),
    ("^a$|^b$", "it has a $ inside: write \\$"), ("^a]$", "it has a ] inside"), ("^a}$", "a } ins"),
    ("^a**$", "nothing that the * could repeat"), ("^a+?$", "nothing that the ? could repeat"),
    ("^*$", "nothing"), ("^a|*$", "nothing"), ("^(*a)$", "nothing"), ("^a{2}{3}$", "nothing"),
    ("^é*$", "before the *, put what it repeats into parentheses"), ("^a\\.*$", "before the *"),
    ("^\\.\\.{2}$", "before the {"), ("^é\\.+$", "before the +"),
    ("^a{,3}$", "{ must be followed by one number or two"), ("^a{x}$", "{ must"),
    ("^a{3,2}$", "{3,2} has a minimum above its maximum"), ("^a{2001}$", "more than 2000 times"),
    ("^a{0,2001}$", "more than 2000 times"), ("^[]$", "a class is empty"), ("^[^]$", "is empty"),
    ("^[a$", "a [ is not closed"), ("^[z-a]$", "a range ends before it begins"),
    ("^(a$", "a parenthesis is not closed"), ("^a)$", "a parenthesis is not opened"),
    ("^" + "(" * 101 + ")" * 101 + "$", "nests deeper than 100"),
    ('^"$', "a quotation mark, which JSON has to escape"), ("^\\\\$", "a backslash"),
    ("^\n$", "control characters"), ("^\\n$", "control characters"), ("^[\\t]$", "control"),
    ("^[ -~]$", "a quotation mark"), ("^[A-z]$", "a backslash"), ("^\\x22$", "a quotation mark"),
    ("^\\ud83d$", "half a surrogate pair"), ("^[\\ud800-\\udfff]$", "half a surrogate pair"),
)  # fmt: skip


@pytest.mark.parametrize("pattern", FAITHFUL)
def test_patterns_that_can_be_honoured(pattern: str) -> None:
    assert unfaithful(pattern) is None


@pytest.mark.parametrize(("pattern", "why"), UNFAITHFUL)
def test_patterns_that_cannot_say_why(pattern: str, why: str) -> None:
    assert why in (unfaithful(pattern) or "")
