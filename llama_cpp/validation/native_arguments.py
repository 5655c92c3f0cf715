"""What has to hold before a native call, in one place: native code aborts on what it distrusts."""

from __future__ import annotations

import math
import operator
import os
import re
from array import array
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import (
    BatchError,
    GrammarError,
    InvalidArgumentError,
    LlamaError,
    SequenceError,
    TextError,
    TokenError,
)
from .numbers import integer as integer
from .numbers import plain

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

INT32_MAX = 2**31 - 1
FLOAT32_MAX = 3.4028234663852886e38
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


def writable(path: bytes, refused: type[LlamaError]) -> None:
    """Refuse a path that cannot be written; an empty file is there afterwards.

    Raises:
        LlamaError: Of the class ``refused``, with the reason.
    """
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise refused(f"{os.fsdecode(path)} cannot be written: {error}") from error


def encoded_text(text: str | bytes | bytearray, what: str = "text") -> bytes:
    """UTF-8 bytes of a text that may hold NULs; the caller passes its length along.

    Raises:
        TextError: It has lone surrogates or numbers above those of Unicode, or is longer than C
            can count.
    """
    if isinstance(text, str):
        _text_length(len(text), what)  # before a copy of it is made
        try:
            text = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise TextError(
                f"the {what} is not valid Unicode at character {error.start}: {error.reason}. "
                "Encode it yourself, with errors='replace' for example."
            ) from None
    if not isinstance(text, bytes | bytearray):
        raise TextError(f"the {what} must be str or bytes, not {type(text).__name__}")
    _text_length(len(text), what)
    text = bytes(text)
    if not text.isascii() and any(lead in text for lead in (b"\xf4", b"\xf5", b"\xf6", b"\xf7")):
        match = _BEYOND_UNICODE.search(text)
        if match:
            raise TextError(f"the {what} has no Unicode character at byte {match.start()}")
    return text


# Bytes that would make a number above U+10FFFF, at which the engine throws across C. Other bytes
# that are no UTF-8 it reads as U+FFFD or as bytes.
_BEYOND_UNICODE = re.compile(rb"\xf4[\x90-\xbf]|[\xf5-\xf7]")


def _text_length(length: int, what: str) -> None:
    if length > INT32_MAX:
        raise TextError(
            f"the {what} has {length} bytes, the tokenizer takes at most {INT32_MAX}: split it"
        )


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
    if isinstance(tokens, str | bytes | bytearray):
        raise TokenError(f"token ids must be integers, not {type(tokens).__name__}: tokenize first")
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
    try:
        seq_id = operator.index(seq_id)
    except TypeError:
        raise SequenceError(f"a sequence id must be an integer, not {seq_id!r}") from None
    if not lowest <= seq_id < n_seq_max:
        raise SequenceError(
            f"sequence id {seq_id} is not between {lowest} and {n_seq_max - 1}: the context was "
            f"created with n_seq_max={n_seq_max}"
        )
    return seq_id


# What parentheses and braces in a grammar do not count in: texts, character classes, comments.
_GRAMMAR_TEXT = re.compile(rb'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*', re.DOTALL)
_GRAMMAR_PARENTHESIS = re.compile(rb"[()]")
_GRAMMAR_ITEM = re.compile(
    rb"(?P<text>\"+)|\{\s*(?P<least>\d+)\s*,?\s*(?P<most>\d*)\s*\}|[^\s\"{]+|\{"
)
_GRAMMAR_COUNT_MAX = 2000  # above that the parser refuses, or takes it for no limit
# The parser copies what is repeated as often as it may be, with some 30 bytes to hold each copy.
_GRAMMAR_COPIES_MAX = 1 << 25
_GRAMMAR_ALTERNATIVES_MAX = 1 << 15  # each is compared with all others: a second


def grammar_size(rules: bytes) -> None:
    """Refuse a grammar that would exhaust the parser's stack or memory.

    Raises:
        GrammarError: It is longer or nests deeper than any grammar in use, repeats more, or repeats
            something at least m and at most fewer times.
    """
    if len(rules) > GRAMMAR_BYTES_MAX:
        raise GrammarError(f"the grammar has {len(rules)} bytes, at most {GRAMMAR_BYTES_MAX} go")
    # As long as it was, for a repeated text is copied too.
    structure = _GRAMMAR_TEXT.sub(lambda text: b'"'.ljust(len(text[0]), b'"'), rules)
    depth = deepest = 0
    for match in _GRAMMAR_PARENTHESIS.finditer(structure):
        depth += 1 if match[0] == b"(" else -1
        deepest = max(deepest, depth)
    if deepest > GRAMMAR_DEPTH_MAX:
        raise GrammarError(f"the grammar nests {deepest} deep, at most {GRAMMAR_DEPTH_MAX} goes")
    alternatives = structure.count(b"|")
    if alternatives > _GRAMMAR_ALTERNATIVES_MAX:
        raise GrammarError(
            f"the grammar has {alternatives} alternatives, at most {_GRAMMAR_ALTERNATIVES_MAX} go"
        )
    length = copies = 0
    for item in _GRAMMAR_ITEM.finditer(structure):
        if item["least"] is None:
            length = len(item["text"] or b" ")
            continue
        least, most = int(item["least"][:9]), int(item["most"][:9] or 0)
        if item["most"] and least > most:
            raise GrammarError(
                f"the grammar has the repetition {item[0].decode()}, whose minimum is larger than "
                "its maximum"
            )
        copies += (length + 30) * max(n for n in (0, least, most) if n <= _GRAMMAR_COUNT_MAX)
    if copies > _GRAMMAR_COPIES_MAX:
        raise GrammarError("the grammar repeats too much: lower the numbers in {...}")


def instance(value: object, kind: type, what: str) -> None:
    """Refuse an object of another kind.

    Raises:
        InvalidArgumentError: It is none of this class.
    """
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"the {what} must be a {kind.__name__}, not {value!r}")


def in_range(name: str, value: float, low: float, high: float, meaning: str = "") -> None:
    """Refuse a number outside of [low, high], NaN included.

    Raises:
        InvalidArgumentError: It is outside, or no number.
    """
    try:
        inside = low <= plain(value) <= high
    except TypeError:
        raise InvalidArgumentError(f"{name} must be a number, not {value!r}") from None
    if not inside:
        hint = f" ({meaning})" if meaning else ""
        raise InvalidArgumentError(f"{name}={value} must be between {low} and {high}{hint}")


def floats(values: npt.ArrayLike, what: str) -> npt.NDArray[np.float32]:
    """An array of float32.

    Raises:
        InvalidArgumentError: It holds something else than numbers.
    """
    import numpy as np

    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite
            return np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"the {what} must be numbers: {error}") from None


def finite_floats(values: npt.ArrayLike, what: str) -> npt.NDArray[np.float32]:
    """An array of finite float32: NaN and infinities would spread over everything computed.

    Raises:
        InvalidArgumentError: It holds something else.
    """
    import numpy as np

    array_of_floats = floats(values, what)
    if not np.isfinite(array_of_floats).all():
        raise InvalidArgumentError(f"the {what} must be finite numbers, without NaN and infinities")
    return array_of_floats


def encoder_input(count: int, n_ubatch: int) -> None:
    """Refuse an input that an encoder would have to split.

    Raises:
        BatchError: It has more entries than a micro-batch.
    """
    if count > n_ubatch:
        raise BatchError(
            f"an encoder takes its whole input at once: {count} entries do not fit into "
            f"n_ubatch={n_ubatch}. Raise params.n_ubatch or shorten the text."
        )


def single_sequences(counts: npt.NDArray[np.int32]) -> None:
    """Refuse entries of several sequences, for models without memory.

    Raises:
        SequenceError: An entry belongs to more than one.
    """
    if counts.max() > 1:
        raise SequenceError("this model has no memory: an entry belongs to one sequence only")


def learned_positions(positions: npt.NDArray[np.int32], count: int) -> None:
    """Refuse positions that the model has no embeddings for.

    Raises:
        SequenceError: A position is too large.
    """
    if positions.max() >= count:
        raise SequenceError(
            f"position {positions.max()} is too large: this model learned {count} positions, from "
            "0 on. Shorten the text."
        )


def output_count(count: int, n_outputs_max: int) -> None:
    """Refuse more outputs than the context has room for.

    Raises:
        BatchError: There are more.
    """
    if count > n_outputs_max:
        raise BatchError(
            f"the batch asks for {count} outputs: the context was created with "
            f"n_outputs_max={n_outputs_max}. Ask for fewer, or leave it at 0."
        )


LAYERS_MAX = 512  # LLAMA_MAX_LAYERS in llama-hparams.h
_POOLING_TYPES = (0, 1, 2, 3, 4, -1, 2**32 - 1)


def model_metadata(metadata: Mapping[str, Any], architecture: str | None) -> None:
    """Refuse hyperparameters that the engine asserts on.

    Args:
        metadata: That of the file, with the overrides of the caller.
        architecture: The prefix of the model's own keys.

    Raises:
        InvalidArgumentError: A value cannot be.
    """
    layers = metadata.get(f"{architecture}.block_count")
    if layers is not None:
        in_range(f"{architecture}.block_count", layers, 1, LAYERS_MAX)
    pooling = metadata.get(f"{architecture}.pooling_type")
    if pooling is not None and pooling not in _POOLING_TYPES:
        raise InvalidArgumentError(f"{architecture}.pooling_type={pooling} is no pooling type")
    for key, value in metadata.items():
        if key.endswith("epsilon") and isinstance(value, float):
            in_range(key, value, 0.0, math.inf)
