"""Bytes to whole characters, and stop strings, however the text is cut."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from text_kit import byte_pieces, naive_cut, naive_held

from llama_cpp.errors import InvalidArgumentError
from llama_cpp.text import Pieces, StopFinder, StopStrings, Utf8Decoder

# Two letters only, so that strings overlap with themselves and with each other.
LETTERS = "ab"
STOPS = st.lists(st.text(LETTERS, min_size=1, max_size=5), min_size=1, max_size=5)
CHUNKS = st.lists(st.text(LETTERS, max_size=6), max_size=10)


def fed(stops: Sequence[str], chunks: Sequence[str]) -> tuple[str, str | None]:
    """The text shown and the stop string, after everything."""
    finder = StopFinder(StopStrings(stops))
    shown = "".join(finder.feed(chunk) for chunk in chunks) + finder.finish()
    return shown, finder.found


# Characters out of bytes.


@given(byte_pieces())
def test_pieces_decode_to_what_the_whole_decodes_to(pieces: list[bytes]) -> None:
    decoder = Utf8Decoder()
    text = "".join(decoder.feed(piece) for piece in pieces) + decoder.finish()
    assert text == b"".join(pieces).decode("utf-8", "replace")


@given(st.text(max_size=20))
def test_a_character_comes_with_its_last_byte(text: str) -> None:
    decoder = Utf8Decoder()
    for character in text:
        *first, last = character.encode()
        for number, byte in enumerate(first, 1):
            assert decoder.feed(bytes([byte])) == ""
            assert decoder.held == number
        assert decoder.feed(bytes([last])) == character
        assert decoder.held == 0
    assert decoder.finish() == ""


@given(byte_pieces())
def test_what_is_held_is_less_than_a_character(pieces: list[bytes]) -> None:
    decoder = Utf8Decoder()
    fed_so_far, text = b"", ""
    for piece in pieces:
        fed_so_far += piece
        text += decoder.feed(piece)
        assert decoder.held <= 3
        rest = fed_so_far[len(fed_so_far) - decoder.held :]
        whole = fed_so_far.decode("utf-8", "replace")
        assert text + rest.decode("utf-8", "replace") == whole


def test_an_unfinished_character_ends_as_a_replacement() -> None:
    decoder = Utf8Decoder()
    assert decoder.feed("né".encode()[:2]) == "n"
    assert decoder.finish() == "\N{REPLACEMENT CHARACTER}"
    assert decoder.feed(b"after") == "after"


# Where a text stops.


@given(STOPS, CHUNKS)
@example(["ab", "bab"], ["bab"])
@example(["aab"], ["aaaaab"])
@example(["abaab", "b"], ["abaa", "b"])
@example(["aabaa", "abab"], ["aab", "ab"])
def test_the_text_ends_where_the_naive_cut_ends_it(stops: list[str], chunks: list[str]) -> None:
    assert fed(stops, chunks) == naive_cut("".join(chunks), stops)


@given(STOPS, CHUNKS)
def test_held_back_is_exactly_what_a_stop_string_may_begin_with(
    stops: list[str], chunks: list[str]
) -> None:
    finder = StopFinder(StopStrings(stops))
    text = shown = ""
    for chunk in chunks:
        text += chunk
        shown += finder.feed(chunk)
        cut, stop = naive_cut(text, stops)
        assert finder.found == stop
        assert shown == (cut if stop is not None else text[: len(text) - naive_held(text, stops)])


@given(st.lists(st.text(min_size=1, max_size=3), max_size=3), st.lists(st.text(max_size=5)))
def test_any_characters_may_be_in_a_stop_string(stops: list[str], chunks: list[str]) -> None:
    assert fed(stops, chunks) == naive_cut("".join(chunks), stops)


@given(STOPS, CHUNKS, st.randoms(use_true_random=False))
def test_the_order_of_the_stop_strings_does_not_matter(
    stops: list[str], chunks: list[str], random: object
) -> None:
    mixed = [*stops, *stops]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert fed(mixed, chunks) == fed(stops, chunks)
    assert sorted(StopStrings(mixed).stops) == sorted(set(stops))


@given(STOPS, st.text(LETTERS, max_size=20))
def test_an_automaton_may_serve_many_texts(stops: list[str], text: str) -> None:
    automaton = StopStrings(stops)
    finders = [StopFinder(automaton) for _ in range(2)]
    shown = ["", ""]
    for character in text:
        for number, finder in enumerate(finders):
            shown[number] += finder.feed(character)
    assert shown[0] == shown[1]
    assert finders[0].found == finders[1].found == naive_cut(text, stops)[1]


def test_nothing_comes_after_a_stop_string() -> None:
    finder = StopFinder(StopStrings(["\n\n"]))
    assert finder.feed("one\n") == "one"
    assert finder.feed("\ntwo") == ""
    assert finder.found == "\n\n"
    assert (finder.feed("three"), finder.finish()) == ("", "")


def test_the_longest_of_those_that_end_together_counts() -> None:
    assert fed(["l", "ell", "hello"], ["hello"]) == ("he", "l")
    assert fed(["lo", "hello"], ["say hello"]) == ("say ", "hello")


def test_a_long_text_of_beginnings_is_all_shown() -> None:
    stop = "a" * 500 + "b"
    assert fed([stop], ["a" * 300] * 10) == ("a" * 3000, None)
    assert fed([stop], ["a" * 300] * 10 + ["b"]) == ("a" * 2500, stop)


def test_without_stop_strings_everything_is_shown_at_once() -> None:
    stops = StopStrings([])
    finder = StopFinder(stops)
    assert not stops and StopStrings(["x"])
    assert (finder.feed("text"), finder.feed(""), finder.finish()) == ("text", "", "")


@pytest.mark.parametrize("wrong", ["", 5, None, b"bytes", ["a list"], {}])
def test_a_stop_string_is_a_text_that_is_not_empty(wrong: object) -> None:
    with pytest.raises(InvalidArgumentError, match="a stop string is .* at least one character"):
        StopStrings(["right", wrong])  # type: ignore[list-item]


# What tokens say.


def test_a_token_is_asked_for_once() -> None:
    asked: list[int] = []

    def piece_of(token: int) -> bytes:
        asked.append(token)
        return b"piece %d" % token

    pieces = Pieces(piece_of)
    assert [pieces[token] for token in (7, 8, 7)] == [
        (b"piece 7", "piece 7"),
        (b"piece 8", "piece 8"),
        (b"piece 7", "piece 7"),
    ]
    assert asked == [7, 8]


@given(st.binary(max_size=6))
def test_a_piece_has_a_text_where_it_is_whole_characters(piece: bytes) -> None:
    entry, text = Pieces(lambda _: piece)[1]
    assert entry == piece
    try:
        assert text == codecs.decode(piece, "utf-8", "strict")
    except UnicodeDecodeError:
        assert text is None


@pytest.mark.parametrize(
    ("piece", "name"),
    [
        ("né".encode(), "né"),
        (b"", ""),
        (b"\xc3", "bytes:\\xc3"),
        (b"n\xc3", "bytes:\\x6e\\xc3"),
        (b"\xa9\x0a", "bytes:\\xa9\\x0a"),
    ],
)
def test_the_name_of_a_token_is_its_text_or_its_bytes(piece: bytes, name: str) -> None:
    assert Pieces(lambda _: piece).name(1) == name
