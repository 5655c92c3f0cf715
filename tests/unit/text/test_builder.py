"""``TextBuilder``: the text of tokens, and the records of the tokens that belong to it."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st
from text_kit import byte_pieces, naive_cut

from llama_cpp.text import Pieces, StopStrings
from llama_cpp.text.builder import TextBuilder, TokenRecord

STOPS = st.lists(st.text("abé😀\ufffd", min_size=1, max_size=3), max_size=3)


class Span(NamedTuple):
    """Where the text of a token begins, and where what it writes at ends."""

    start: int
    end: int


def complete(data: bytes) -> str:
    """The characters that are complete, whatever comes next."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data)


def spans(pieces: Sequence[bytes]) -> list[Span]:
    found = []
    for number in range(len(pieces)):
        before, through = b"".join(pieces[:number]), b"".join(pieces[: number + 1])
        is_partial = complete(through) != through.decode("utf-8", "replace")
        found.append(Span(len(complete(before)), len(complete(through)) + is_partial))
    return found


def built(
    pieces: Sequence[bytes], stops: Sequence[str], *, keeps_records: bool
) -> tuple[TextBuilder, int]:
    """A finished builder, and how many tokens it took."""
    builder = TextBuilder(Pieces(lambda token: pieces[token]), StopStrings(stops), keeps_records)
    count = 0
    for token in range(len(pieces)):
        count += 1
        if builder.add(token, -float(token), [(token, -1.0)]):
            break
    builder.finish()
    return builder, count


def text_of(builder: TextBuilder) -> str:
    return "".join(text for text, _ in builder.parts)


def records_of(builder: TextBuilder) -> list[TokenRecord]:
    return [record for _, records in builder.parts for record in records]


@given(byte_pieces(), STOPS, st.booleans())
@example([b"a", b"b\xc3"], ["b\ufffd"], True)
@example([b"ab\xc3"], ["abb", "\ufffd"], True)
@example([b"ab\xc3"], ["abb", "\ufffd"], False)
def test_the_parts_make_up_the_text_before_the_stop(
    pieces: list[bytes], stops: list[str], keeps_records: bool
) -> None:
    builder, _ = built(pieces, stops, keeps_records=keeps_records)
    text, stop = naive_cut(b"".join(pieces).decode("utf-8", "replace"), stops)
    assert text_of(builder) == text
    assert builder.stopped == (stop is not None)
    assert all(part != ("", []) for part in builder.parts)


@given(byte_pieces(), STOPS, st.booleans())
def test_a_token_that_completes_a_stop_is_the_last(
    pieces: list[bytes], stops: list[str], keeps_records: bool
) -> None:
    _, count = built(pieces, stops, keeps_records=keeps_records)
    for number in range(len(pieces)):
        if naive_cut(complete(b"".join(pieces[: number + 1])), stops)[1] is not None:
            assert count == number + 1
            return
    assert count == len(pieces)


@given(byte_pieces(), STOPS)
@example([b"a", b"\xc3", b"\xa9"], ["é"])
@example([b"a", b"", b"b"], ["b"])
@example([b"a", b"b", b"", b"a"], ["abb", "a"])
@example([b"a", b"b\xc3"], ["\ufffd"])
def test_the_records_are_those_of_the_text(pieces: list[bytes], stops: list[str]) -> None:
    builder, count = built(pieces, stops, keeps_records=True)
    shown = len(text_of(builder))
    expected = [
        TokenRecord(token, -float(token), [(token, -1.0)], span.start)
        for token, span in enumerate(spans(pieces[:count]))
        if not builder.stopped or span.start < shown or span.end <= shown
    ]
    assert records_of(builder) == expected


@given(byte_pieces(), STOPS)
def test_a_record_comes_with_the_last_character_of_its_token(
    pieces: list[bytes], stops: list[str]
) -> None:
    builder = TextBuilder(Pieces(lambda token: pieces[token]), StopStrings(stops), True)
    for token, _ in enumerate(pieces):
        if builder.add(token, None, None):
            break
        shown = len(text_of(builder))
        ends = [span.end for span in spans(pieces[: token + 1])]
        assert [record.token for record in records_of(builder)] == [
            number for number, end in enumerate(ends) if end <= shown
        ]


@given(byte_pieces(), STOPS)
def test_without_records_the_text_comes_as_it_does_with_them(
    pieces: list[bytes], stops: list[str]
) -> None:
    with_records, _ = built(pieces, stops, keeps_records=True)
    without, _ = built(pieces, stops, keeps_records=False)
    assert records_of(without) == []
    texts = [text for text, _ in with_records.parts if text]
    assert texts == [text for text, _ in without.parts]


def test_parts_that_were_taken_do_not_come_again() -> None:
    builder = TextBuilder(Pieces(lambda token: b"ab" * token), StopStrings(["abc"]), False)
    builder.add(1, None, None)
    assert not builder.parts
    builder.add(2, None, None)
    assert [builder.parts.popleft()] == [("abab", [])]
    builder.finish()
    assert list(builder.parts) == [("ab", [])]


def test_the_tokens_of_one_character_come_together() -> None:
    pieces = [bytes([byte]) for byte in "é".encode()]
    builder = TextBuilder(Pieces(lambda token: pieces[token]), StopStrings([]), True)
    builder.add(0, -1.0, None)
    assert not builder.parts
    builder.add(1, -2.0, None)
    assert list(builder.parts) == [
        ("é", [TokenRecord(0, -1.0, None, 0), TokenRecord(1, -2.0, None, 0)])
    ]


def test_a_stop_string_in_a_token_keeps_what_comes_before_it() -> None:
    builder, count = built([b"one", b" two.", b" three"], ["."], keeps_records=True)
    assert (text_of(builder), count) == ("one two", 2)
    assert [(record.token, record.offset) for record in records_of(builder)] == [(0, 0), (1, 3)]
