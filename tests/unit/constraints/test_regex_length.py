"""How long a text has to be for a regular expression."""

from __future__ import annotations

import pytest

from llama_cpp.constraints.regex_length import least_length


@pytest.mark.parametrize(
    ("pattern", "length"),
    [
        ("", 0),
        ("abc", 3),
        ("a|bcd", 1),
        ("(a{1000}){1000}", 1_000_000),
        (r"(?:[^\]]{3}|\d{2,5})x+", 3),
        (r"\(\[\{{4}", 6),
        ("(?P<name>ab?c*){7,}?", 7),
        (r"[]a-z]{2}\u{e9}\p{Greek}", 4),
        ("(a|b(c|de){2}){3}", 3),
    ],
)
def test_least_length(pattern: str, length: int) -> None:
    assert least_length(pattern) == length
