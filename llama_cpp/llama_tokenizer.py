"""Tokenizers: the model's own, and Hugging Face's for models whose GGUF has a poor one."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Protocol

from .errors import LlamaError

if TYPE_CHECKING:
    from ._internals import LlamaModel

__all__ = ["BaseLlamaTokenizer", "LlamaHFTokenizer", "LlamaTokenizer"]


class BaseLlamaTokenizer(abc.ABC):
    """What ``Llama`` needs of a tokenizer."""

    @abc.abstractmethod
    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = True) -> list[int]:
        """Split a text.

        Args:
            text: UTF-8.
            add_bos: Whether BOS comes first, where the model wants it.
            special: Whether the text of special tokens stands for those tokens.
        """

    @abc.abstractmethod
    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes:
        """Join tokens.

        Args:
            tokens: Their ids.
            prev_tokens: Those before, which may change how the first one begins.
            special: Whether special tokens are part of the text.
        """


class HasModel(Protocol):
    """A ``Llama``, or whatever else has a model."""

    _model: LlamaModel


class LlamaTokenizer(BaseLlamaTokenizer):
    """The tokenizer of a model.

    Args:
        llama: The model.
    """

    def __init__(self, llama: HasModel) -> None:
        self._model = llama._model

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = True) -> list[int]:
        """Split a text; see ``BaseLlamaTokenizer``.

        Raises:
            TextError: It is too long, or not bytes or text.
        """
        return self._model.tokenize(text, add_bos, special)

    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes:
        """Join tokens; see ``BaseLlamaTokenizer``.

        Raises:
            TokenError: An id is not in the vocabulary.
        """
        return self._model.detokenize(tokens, special)

    def encode(self, text: str, add_bos: bool = True, special: bool = True) -> list[int]:
        """Split a text."""
        return self.tokenize(text.encode("utf-8"), add_bos, special)

    def decode(self, tokens: list[int]) -> str:
        """Join tokens to a text; bytes that are no UTF-8 are left out."""
        return self.detokenize(tokens).decode("utf-8", errors="ignore")

    @classmethod
    def from_ggml_file(cls, path: str) -> LlamaTokenizer:
        """Load only the vocabulary of a GGUF file.

        Raises:
            ModelLoadError: The file cannot be loaded.
        """
        from ._internals import LlamaModel
        from .llama_cpp import llama_model_default_params

        params = llama_model_default_params()
        params.vocab_only = True
        tokenizer = cls.__new__(cls)
        tokenizer._model = LlamaModel(path_model=path, params=params, verbose=False)
        return tokenizer


class LlamaHFTokenizer(BaseLlamaTokenizer):
    """A tokenizer of the ``transformers`` package, whose ids must be the model's.

    Args:
        hf_tokenizer: What ``AutoTokenizer`` gives.
    """

    def __init__(self, hf_tokenizer: Any) -> None:
        self.hf_tokenizer = hf_tokenizer

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = True) -> list[int]:
        """Split a text; see ``BaseLlamaTokenizer``. ``special`` adds the special tokens."""
        ids = self.hf_tokenizer.encode(
            text.decode("utf-8", errors="ignore"), add_special_tokens=special
        )
        return list(ids)

    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes:
        """Join tokens; see ``BaseLlamaTokenizer``."""
        skip = not special
        if prev_tokens is None:
            text: str = self.hf_tokenizer.decode(tokens, skip_special_tokens=skip)
            return text.encode("utf-8", errors="ignore")
        before = self.hf_tokenizer.decode(prev_tokens, skip_special_tokens=skip)
        whole = self.hf_tokenizer.decode([*prev_tokens, *tokens], skip_special_tokens=skip)
        # The end of `before` may read differently with what follows it.
        return str(whole[len(before) :]).encode("utf-8", errors="ignore")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str) -> LlamaHFTokenizer:
        """Load a tokenizer by name or folder.

        Raises:
            LlamaError: The ``transformers`` package is not installed.
        """
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise LlamaError(
                "the transformers package is needed for this: pip install transformers"
            ) from None
        return cls(AutoTokenizer.from_pretrained(pretrained_model_name_or_path))
