"""``LlamaModel``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NoReturn

from .. import llama_cpp as raw
from ..errors import LlamaError
from ..handles import Model, Vocab
from ..validation.native_arguments import token_array


class LlamaModel:
    """A loaded model and its vocabulary.

    Args:
        path_model: A GGUF file; of a split model, its first file.
        params: What ``llama_model_default_params()`` gives, changed or not.
        verbose: Kept for scripts; ``llama_cpp.set_verbose`` sets what is logged.

    Raises:
        ModelLoadError: One of its subclasses says what is wrong with the file:
            ``ModelNotFoundError``, which is a ``ValueError`` too, that there is none.
    """

    def __init__(
        self,
        *,
        path_model: str | bytes | os.PathLike[Any],
        params: raw.llama_model_params,
        verbose: bool = True,
    ) -> None:
        self.path_model = path_model
        self.params = params
        self.verbose = verbose
        self.handle = Model(path_model, params)
        self._vocab = self.handle.vocab
        # A piece takes a native call to make; whole vocabularies are detokenized token by token.
        self._pieces: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})

    @staticmethod
    def default_params() -> raw.llama_model_params:
        """The engine's defaults, to be changed and passed to the constructor."""
        return Model.default_params()

    @property
    def model(self) -> raw.llama_model_p:
        """The address of the ``llama_model``."""
        pointer: raw.llama_model_p = self.handle.pointer
        return pointer

    @property
    def vocab(self) -> raw.llama_vocab_p:
        """The address of the ``llama_vocab``."""
        pointer: raw.llama_vocab_p = self.vocab_handle.pointer
        return pointer

    @property
    def vocab_handle(self) -> Vocab:
        """The vocabulary.

        Raises:
            ClosedError: The model is closed. This holds for every method below.
        """
        # The handles remember what they were asked before, closed or not.
        _ = self._vocab.pointer
        return self._vocab

    def close(self) -> None:
        """Free the model, and first the contexts and samplers that use it. Twice does nothing.

        Raises:
            BusyError: It is in use on the calling thread: this is a callback of a native call.
        """
        self.handle.close()

    # What kind of model it is.

    def vocab_type(self) -> int:
        """The kind of tokenizer: ``LLAMA_VOCAB_TYPE_*``."""
        return self.vocab_handle.type

    def n_vocab(self) -> int:
        """Tokens in the vocabulary: the width of a row of logits."""
        return self.vocab_handle.n_tokens

    def n_ctx_train(self) -> int:
        """The context length that the model was trained with, in tokens."""
        return self._open.n_ctx_train

    def n_embd(self) -> int:
        """The width of the hidden state."""
        return self._open.n_embd

    def rope_freq_scale_train(self) -> float:
        """The factor of the rotary position encoding that the model was trained with."""
        return float(self.handle.call(raw.llama_model_rope_freq_scale_train))

    def desc(self) -> str:
        """A short text like ``llama 7B Q4_0``."""
        return self._open.description

    def size(self) -> int:
        """Bytes of all tensors."""
        return self._open.size

    def n_params(self) -> int:
        """Parameters."""
        return self._open.n_params

    def metadata(self) -> dict[str, str]:
        """The scalar and string metadata of the file, each value as text."""
        return dict(self._open.metadata)

    def get_tensor(self, name: str) -> NoReturn:
        """Raise: the engine gives no tensors out.

        Raises:
            LlamaError: Always.
        """
        _ = self._open
        raise LlamaError(
            f"tensor {name!r} cannot be had from a loaded model: llama.h has no function for it, "
            "and weights may have been repacked or moved to a device. Read it from the file, with "
            "gguf.GGUFReader of the gguf package or with llama_cpp.gguf_init_from_file."
        )

    # Single tokens.

    def token_get_text(self, token: int) -> str:
        """The token as the model file spells it."""
        return self.vocab_handle.text(token).decode("utf-8", "replace")

    def token_get_score(self, token: int) -> float:
        """The token's score in the model file."""
        return self.vocab_handle.score(token)

    def token_get_attr(self, token: int) -> int:
        """The token's attributes: ``LLAMA_TOKEN_ATTR_*`` bits."""
        return self.vocab_handle.attr(token)

    # Special tokens; -1 says that the model has none.

    def token_bos(self) -> int:
        """Beginning of text, or -1."""
        return self.vocab_handle.bos

    def token_eos(self) -> int:
        """End of text, or -1."""
        return self.vocab_handle.eos

    def token_cls(self) -> int:
        """Start of a text to classify, or -1. The engine holds it to be the same as BOS."""
        return self.vocab_handle.bos

    def token_sep(self) -> int:
        """Sentence separator, or -1."""
        return self.vocab_handle.sep

    def token_nl(self) -> int:
        """Line feed, or -1."""
        return self.vocab_handle.nl

    def token_prefix(self) -> int:
        """Fill-in-the-middle prefix, or -1."""
        return self.vocab_handle.fim_pre

    def token_middle(self) -> int:
        """Fill-in-the-middle middle, or -1."""
        return self.vocab_handle.fim_mid

    def token_suffix(self) -> int:
        """Fill-in-the-middle suffix, or -1."""
        return self.vocab_handle.fim_suf

    def token_eot(self) -> int:
        """End of turn, or -1."""
        return self.vocab_handle.eot

    def add_bos_token(self) -> bool:
        """Whether the model wants BOS in front of a text."""
        return self.vocab_handle.add_bos

    def add_eos_token(self) -> bool:
        """Whether the model wants EOS behind a text."""
        return self.vocab_handle.add_eos

    # Text.

    def tokenize(self, text: bytes, add_bos: bool, special: bool) -> list[int]:
        """Split a text into token ids.

        Args:
            text: UTF-8.
            add_bos: Add BOS, EOS or the like, where the model wants them.
            special: Read the text of special tokens as those tokens, not as text.

        Raises:
            TextError: The text is too long.
            InvalidArgumentError: The model has no tokenizer, or lacks a special token that
                ``add_bos`` needs.
        """
        return self.vocab_handle.tokenize(text, add_special=add_bos, parse_special=special)

    def token_to_piece(self, token: int, special: bool = False) -> bytes:
        """The bytes that one token stands for.

        Args:
            token: The id.
            special: Render a special token too; otherwise it gives ``b""``.

        Raises:
            TokenError: The id is not in the vocabulary.
            InvalidArgumentError: The model has no tokenizer.
        """
        return self.vocab_handle.token_to_piece(token, special=special)

    def detokenize(self, tokens: Iterable[int], special: bool = False) -> bytes:
        """The bytes of a text, or of a part of one.

        The pieces of the tokens are joined as they are, so that the parts of a text add up to the
        whole. Only where BOS tells that a text begins here, the space that some tokenizers put in
        front of every text is taken off again.

        Args:
            tokens: Ids.
            special: Render special tokens too; otherwise they give nothing.

        Raises:
            TokenError: An id is not in the vocabulary.
            InvalidArgumentError: The model has no tokenizer.
        """
        vocab = self.vocab_handle
        ids = token_array(tokens, vocab.n_tokens)
        pieces = self._pieces[bool(special)]
        for token in set(ids).difference(pieces):
            pieces[token] = vocab.token_to_piece(token, special=special)
        text = b"".join([pieces[token] for token in ids])
        if ids and ids[0] == vocab.bos and text.startswith(b" ") and self._space_is_added:
            return text[1:]
        return text

    @cached_property
    def _space_is_added(self) -> bool:
        # The engine does not tell; a text without a space does, if it comes back with one.
        (first, *_) = self._vocab.tokenize(b"a", add_special=False)
        return self._vocab.token_to_piece(first).startswith(b" ")

    @property
    def _open(self) -> Model:
        _ = self.handle.pointer
        return self.handle
