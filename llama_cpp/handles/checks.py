"""What has to hold before a native call, in one place: native code aborts on what it distrusts."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from typing import Any

from ..errors import GrammarError, InvalidArgumentError, SequenceError, TextError, TokenError

INT32_MAX = 2**31 - 1
GRAMMAR_BYTES_MAX = 1 << 20
GRAMMAR_DEPTH_MAX = 256


def encoded_path(path: str | bytes | os.PathLike[Any], what: str = "path") -> bytes:
    """The bytes that C opens a file by.

    Raises:
        TextError: The path is empty, holds a NUL or cannot be encoded.
    """
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise TextError(
            f"the {what} {path!r} cannot be encoded for this system: {error.reason}"
        ) from None
    except TypeError:
        raise TextError(f"the {what} must be a string or a path, not {path!r}") from None
    if not raw:
        raise TextError(f"the {what} is empty: give the path of a file")
    if b"\0" in raw:
        raise TextError(f"the {what} {path!r} holds a NUL character, which no file name can")
    return raw


def encoded_text(text: str | bytes | bytearray, what: str = "text") -> bytes:
    """UTF-8 bytes of a text that may hold NULs; the caller passes its length along.

    Raises:
        TextError: It has lone surrogates, or is longer than C can count.
    """
    if isinstance(text, str):
        try:
            text = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise TextError(
                f"the {what} is not valid Unicode at character {error.start}: {error.reason}. "
                "Encode it yourself, with errors='replace' for example."
            ) from None
    if not isinstance(text, bytes | bytearray):
        raise TextError(f"the {what} must be str or bytes, not {type(text).__name__}")
    if len(text) > INT32_MAX:
        raise TextError(
            f"the {what} has {len(text)} bytes, the tokenizer takes at most {INT32_MAX}: split it"
        )
    return bytes(text)


def c_string(text: str | bytes, what: str) -> bytes:
    """UTF-8 bytes of a text that C reads up to its NUL.

    Raises:
        TextError: It holds a NUL, or cannot be encoded.
    """
    encoded = encoded_text(text, what)
    if b"\0" in encoded:
        raise TextError(f"the {what} holds a NUL character, where C would cut it off")
    return encoded


def token_array(tokens: Iterable[int], n_vocab: int) -> array[int]:
    """Token ids as an array of int32, each one in the vocabulary.

    Raises:
        TokenError: An id is negative or >= n_vocab, or not an integer.
    """
    try:
        ids = array("i", tokens)
    except (TypeError, OverflowError) as error:
        raise TokenError(f"token ids must be integers below {n_vocab}: {error}") from None
    if ids and not (min(ids) >= 0 and max(ids) < n_vocab):
        index, bad = next((i, t) for i, t in enumerate(ids) if not 0 <= t < n_vocab)
        raise TokenError(
            f"token {bad} at index {index} is not in the vocabulary, which has ids 0 to "
            f"{n_vocab - 1}"
        )
    return ids


def token_id(token: int, n_vocab: int) -> int:
    """A token id that is in the vocabulary.

    Raises:
        TokenError: It is not.
    """
    if not hasattr(token, "__index__"):
        raise TokenError(f"a token id must be an integer, not {token!r}")
    if not 0 <= token < n_vocab:
        raise TokenError(
            f"token {token} is not in the vocabulary, which has ids 0 to {n_vocab - 1}"
        )
    return int(token)


def sequence_id(seq_id: int, n_seq_max: int, *, any_sequence: bool = False) -> int:
    """A sequence id that the context has; -1 too where it means every sequence.

    Raises:
        SequenceError: The context has no such sequence.
    """
    lowest = -1 if any_sequence else 0
    if not lowest <= seq_id < n_seq_max:
        raise SequenceError(
            f"sequence id {seq_id} is not between {lowest} and {n_seq_max - 1}: the context was "
            f"created with n_seq_max={n_seq_max}"
        )
    return seq_id


def grammar_size(rules: bytes) -> None:
    """Refuse a grammar whose size or depth would exhaust the parser's stack.

    Raises:
        GrammarError: It is longer or nests deeper than any grammar in use.
    """
    if len(rules) > GRAMMAR_BYTES_MAX:
        raise GrammarError(f"the grammar has {len(rules)} bytes, at most {GRAMMAR_BYTES_MAX} go")
    depth = deepest = 0
    for byte in rules:
        depth += (byte == ord("(")) - (byte == ord(")"))
        deepest = max(deepest, depth)
    if deepest > GRAMMAR_DEPTH_MAX:
        raise GrammarError(f"the grammar nests {deepest} deep, at most {GRAMMAR_DEPTH_MAX} goes")


def in_range(name: str, value: float, low: float, high: float, meaning: str = "") -> None:
    """Refuse a number outside of [low, high], NaN included.

    Raises:
        InvalidArgumentError: It is outside.
    """
    if not low <= value <= high:
        hint = f" ({meaning})" if meaning else ""
        raise InvalidArgumentError(f"{name}={value} must be between {low} and {high}{hint}")
