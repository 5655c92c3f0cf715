"""``Vocab``: text to token ids and back."""

from __future__ import annotations

import ctypes
import functools
import itertools
from array import array
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from .. import llama_cpp as raw
from ..errors import ContextWindowError, InvalidArgumentError, TextError
from ..native.backend import bridge, take_string
from ..validation import native_arguments as checks
from .base import Handle
from .deep_stack import with_stack_for

# They put one token for a whole unknown word, or leave out white space.
_UNBOUNDED = (
    raw.LLAMA_VOCAB_TYPE_NONE, raw.LLAMA_VOCAB_TYPE_WPM, raw.LLAMA_VOCAB_TYPE_UGM,
)  # fmt: skip


class Vocab(Handle):
    """The vocabulary of a model. It is borrowed: the model owns the native object.

    Every method is safe to call from several threads at once.

    Args:
        model: The model.
        n_tokens_max: The tokens that a context has room for; a text that cannot fit is then refused
            by its length, which takes nothing of the memory that splitting it would.
    """

    def __init__(self, model: Handle, n_tokens_max: int | None = None) -> None:
        super().__init__(raw.llama_model_get_vocab(model.pointer), parent=model)
        self._n_tokens_max = n_tokens_max
        self.n_tokens: int = raw.llama_vocab_n_tokens(self.pointer)
        self.type: int = raw.llama_vocab_type(self.pointer)

    # Special tokens. The engine's LLAMA_TOKEN_NULL, -1, says that the model has none.

    @cached_property
    def bos(self) -> int:
        """Beginning of text, or -1."""
        return self.call(raw.llama_vocab_bos)

    @cached_property
    def eos(self) -> int:
        """End of text, or -1."""
        return self.call(raw.llama_vocab_eos)

    @cached_property
    def eot(self) -> int:
        """End of turn, or -1."""
        return self.call(raw.llama_vocab_eot)

    @cached_property
    def sep(self) -> int:
        """Sentence separator, or -1."""
        return self.call(raw.llama_vocab_sep)

    @cached_property
    def nl(self) -> int:
        """Line feed, or -1."""
        return self.call(raw.llama_vocab_nl)

    @cached_property
    def pad(self) -> int:
        """Padding, or -1."""
        return self.call(raw.llama_vocab_pad)

    @cached_property
    def mask(self) -> int:
        """Mask, or -1."""
        return self.call(raw.llama_vocab_mask)

    @cached_property
    def fim_pre(self) -> int:
        """Fill-in-the-middle prefix, or -1."""
        return self.call(raw.llama_vocab_fim_pre)

    @cached_property
    def fim_suf(self) -> int:
        """Fill-in-the-middle suffix, or -1."""
        return self.call(raw.llama_vocab_fim_suf)

    @cached_property
    def fim_mid(self) -> int:
        """Fill-in-the-middle middle, or -1."""
        return self.call(raw.llama_vocab_fim_mid)

    @cached_property
    def add_bos(self) -> bool:
        """Whether the model wants BOS in front of a text."""
        return self.call(raw.llama_vocab_get_add_bos)

    @cached_property
    def add_eos(self) -> bool:
        """Whether the model wants EOS after a text."""
        return self.call(raw.llama_vocab_get_add_eos)

    @cached_property
    def add_sep(self) -> bool:
        """Whether the model wants SEP between the texts of a pair."""
        return self.call(raw.llama_vocab_get_add_sep)

    def text(self, token: int) -> bytes:
        """The token as the model file spells it."""
        text = self.call(raw.llama_vocab_get_text, self._checked(token))
        return b"" if text is None else text

    def score(self, token: int) -> float:
        """The token's score in the model file."""
        return self.call(raw.llama_vocab_get_score, self._checked(token))

    def attr(self, token: int) -> int:
        """The token's attributes: ``LLAMA_TOKEN_ATTR_*`` bits."""
        return self.call(raw.llama_vocab_get_attr, self._checked(token))

    def is_eog(self, token: int) -> bool:
        """Whether the token ends a generation."""
        return self.call(raw.llama_vocab_is_eog, self._checked(token))

    @cached_property
    def eog_tokens(self) -> frozenset[int]:
        """All tokens that end a generation."""
        is_eog = raw.llama_vocab_is_eog
        return self.call(
            lambda vocab: frozenset(t for t in range(self.n_tokens) if is_eog(vocab, t))
        )

    @cached_property
    def special_texts(self) -> dict[str, int]:
        """The control tokens by the texts that stand for them when special tokens are parsed."""
        attr, text = raw.llama_vocab_get_attr, raw.llama_vocab_get_text
        special = raw.LLAMA_TOKEN_ATTR_CONTROL | raw.LLAMA_TOKEN_ATTR_UNKNOWN
        tokens = self.call(
            lambda vocab: {
                text(vocab, t): t for t in range(self.n_tokens) if attr(vocab, t) & special
            }
        )
        return {text.decode("utf-8", "replace"): token for text, token in tokens.items() if text}

    def is_control(self, token: int) -> bool:
        """Whether the token is a control token, not text."""
        return self.call(raw.llama_vocab_is_control, self._checked(token))

    def tokenize(
        self, text: str | bytes, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """Split a text into token ids.

        Args:
            text: UTF-8; NULs are allowed.
            add_special: Add BOS, EOS or the like, where the model wants them.
            parse_special: Read the text of special tokens as those tokens, not as text.

        Returns:
            The ids, each in ``range(n_tokens)``.

        Raises:
            ContextWindowError: The text cannot fit into the context that this vocabulary is for.
            TextError: The text is not Unicode or longer than 2 GiB; or it has more than 2 MiB
                without white space, which some tokenizers cannot split.
            InvalidArgumentError: The model has no tokenizer, or lacks a special token that
                ``add_special`` needs.
            ClosedError: The model is closed.
        """
        encoded = checks.encoded_text(text)
        self._check_tokenizer(add_special)
        self.check_length(encoded)
        if self.type != raw.LLAMA_VOCAB_TYPE_BPE:  # only these use regular expressions
            return self._tokenize(encoded, add_special, parse_special)
        return with_stack_for(encoded, lambda: self._tokenize(encoded, add_special, parse_special))

    def check_length(self, encoded: bytes) -> None:
        """Refuse a text that cannot fit into the context that this vocabulary is for.

        Raises:
            ContextWindowError: It has more bytes than so many tokens can have.
        """
        if self._n_tokens_max is None or len(encoded) <= self._n_tokens_max:
            return
        longest = self.longest_text(self._n_tokens_max)
        if longest is not None and len(encoded) > longest:
            raise ContextWindowError(
                f"Requested tokens exceed context window of {self._n_tokens_max}: the prompt has "
                f"{len(encoded)} bytes, and so many tokens have {longest} at most. Shorten the "
                "prompt, or create the model with a larger n_ctx",
                n_tokens=-(-len(encoded) // self._longest_token), n_ctx=self._n_tokens_max,
            )  # fmt: skip

    def longest_text(self, n_tokens: int) -> int | None:
        """How many bytes so many tokens have at most; None where a token may stand for any text."""
        if self.type in _UNBOUNDED:
            return None
        return n_tokens * self._longest_token

    @cached_property
    def _longest_token(self) -> int:
        text = raw.llama_vocab_get_text  # as the file spells it, no token is shorter
        return self.call(
            lambda vocab: max(len(text(vocab, t) or b"") for t in range(self.n_tokens))
        )

    def _tokenize(self, encoded: bytes, add_special: bool, parse_special: bool) -> list[int]:
        pointer = self.acquire()
        try:
            capacity = len(encoded) + 8  # a token is a byte at least, plus the special ones
            for _ in range(2):
                ids = array("i", bytes(4 * capacity))
                count = self.guarded(
                    raw.llama_tokenize, pointer, encoded, len(encoded), _first(ids), capacity,
                    add_special, parse_special,
                )  # fmt: skip
                if count >= 0:
                    return ids[:count].tolist()
                if count == -(2**31):
                    break
                capacity = -count
        finally:
            self.release()
        raise TextError(
            f"a text of {len(encoded)} bytes gives more tokens than an int32 counts: split it"
        )

    def pieces(self, *, special: bool = False) -> list[bytes]:
        """The bytes that every token stands for, by id.

        Args:
            special: Render special tokens too; otherwise they give ``b""``.

        Raises:
            InvalidArgumentError: The model has no tokenizer.
        """
        if self.type == raw.LLAMA_VOCAB_TYPE_NONE:
            raise InvalidArgumentError("the model has no tokenizer")
        lengths = (ctypes.c_int32 * self.n_tokens)()
        size, needed = 0, 16 * self.n_tokens
        error = ctypes.c_char_p()
        while size < needed:
            size = needed
            text = ctypes.create_string_buffer(size)
            needed = self.call(bridge("bridge_pieces"), special, text, size, lengths, error)
            if error:
                raise TextError(take_string(error))
        whole = memoryview(text)
        ends = itertools.accumulate(lengths)
        return [bytes(whole[end - n : end]) for n, end in zip(lengths, ends, strict=True)]

    def token_to_piece(self, token: int, *, lstrip: int = 0, special: bool = False) -> bytes:
        """The bytes that one token stands for.

        Args:
            token: The id.
            lstrip: How many leading spaces to leave out at most.
            special: Render special tokens too; otherwise they give ``b""``.

        Raises:
            TokenError: The id is not in the vocabulary.
            InvalidArgumentError: The model has no tokenizer.
        """
        token = self._checked(token)
        pointer = self.acquire()
        try:
            buffer = _bytes_for(64)
            length = self.guarded(
                raw.llama_token_to_piece, pointer, token, buffer, len(buffer), lstrip, special
            )
            if length < 0:
                buffer = _bytes_for(-length)
                length = self.guarded(
                    raw.llama_token_to_piece, pointer, token, buffer, len(buffer), lstrip, special
                )
        finally:
            self.release()
        return ctypes.string_at(buffer, max(length, 0))

    def detokenize(
        self, tokens: Iterable[int], *, remove_special: bool = False, unparse_special: bool = False
    ) -> bytes:
        """The bytes of a text.

        Args:
            tokens: Ids.
            remove_special: Leave out BOS and EOS where the model would have added them.
            unparse_special: Render special tokens; otherwise they give nothing.

        Raises:
            TokenError: An id is not in the vocabulary.
            InvalidArgumentError: The model has no tokenizer.
        """
        self._check_tokenizer(add_special=False)
        ids = checks.token_array(tokens, self.n_tokens)
        count = len(ids)
        if not count:
            return b""
        pointer = self.acquire()
        try:
            size = 8 * count + 64
            for _ in range(2):
                buffer = _bytes_for(size)
                length = self.guarded(
                    raw.llama_detokenize, pointer, _first(ids), count, buffer, len(buffer),
                    remove_special, unparse_special,
                )  # fmt: skip
                if length >= 0:
                    return ctypes.string_at(buffer, length)
                size = -length
        finally:
            self.release()
        raise TextError(f"{count} tokens give more text than an int32 counts: split them")

    def _checked(self, token: int) -> int:
        self._check_tokenizer(add_special=False)
        return checks.token_id(token, self.n_tokens)

    def _check_tokenizer(self, add_special: bool) -> None:
        if self.type == raw.LLAMA_VOCAB_TYPE_NONE:
            raise InvalidArgumentError(
                "this model has no tokenizer (its vocabulary type is 'none'): feed it token ids "
                "or embeddings"
            )
        if add_special:
            self._check_special_tokens()

    def _check_special_tokens(self) -> None:
        word_piece = self.type == raw.LLAMA_VOCAB_TYPE_WPM
        needed = {"bos": self.add_bos or word_piece, "eos": self.add_eos, "sep": word_piece}
        for name, wanted in needed.items():
            if wanted and getattr(self, name) == raw.LLAMA_TOKEN_NULL:
                raise InvalidArgumentError(
                    f"the model asks for a {name.upper()} token but names none: call with "
                    "add_special=False"
                )


# ctypes makes a class for every array length, which costs more than a short text does and leaves
# a reference cycle behind: hence no arrays of exactly the length that is needed.


def _first(ids: array[int]) -> Any:
    """The pointer to the ids in an array."""
    return ctypes.byref(ctypes.c_int32.from_buffer(ids))


def _bytes_for(size: int) -> ctypes.Array[ctypes.c_char]:
    """A buffer of at least so many bytes."""
    return _byte_array((size - 1).bit_length())()


@functools.cache
def _byte_array(bits: int) -> type[ctypes.Array[ctypes.c_char]]:
    return ctypes.c_char * min(1 << bits, checks.INT32_MAX)
