"""From what callers give as a prompt to token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from ..errors import InvalidArgumentError
from ..handles import Vocab
from ..llama_tokenizer import BaseLlamaTokenizer
from ..validation.native_arguments import token_array

Prompt: TypeAlias = str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]


class Prompts:
    """Tokenizes prompts for one model.

    Args:
        vocab: Its vocabulary, for the context that prompts have to fit into.
        tokenizer: Splits the texts.
        spm_infill: Whether the suffix comes before the prefix when filling in the middle.
    """

    def __init__(self, vocab: Vocab, tokenizer: BaseLlamaTokenizer, *, spm_infill: bool) -> None:
        self._vocab = vocab
        self.tokenizer = tokenizer
        self._spm_infill = spm_infill

    @property
    def can_fill_in(self) -> bool:
        """Whether the model has the tokens for filling in the middle."""
        return self._vocab.fim_pre >= 0 and self._vocab.fim_suf >= 0

    def tokenize(self, prompt: Prompt, suffix: str | None = None) -> list[list[int]]:
        """Return token ids, one list per prompt.

        Args:
            prompt: A text, token ids, or a list of either.
            suffix: What comes after the text to write.

        Raises:
            InvalidArgumentError: There is no prompt, or one of another type, or an empty one for
                a model without BOS.
            ContextWindowError: A text is so long that it cannot fit into the context.
            TokenError: An id is not in the vocabulary.
            TextError: A text cannot be tokenized.
        """
        if suffix is not None and not isinstance(suffix, str):
            raise InvalidArgumentError(f"suffix={suffix!r} must be a text")
        return [self._one(each, suffix) for each in _listed(prompt)]

    def texts(self, prompt: Prompt) -> list[str]:
        """Return the prompts as text, for echoing them."""
        return [
            each
            if isinstance(each, str)
            else self.tokenizer.detokenize(list(each), special=True).decode("utf-8", "replace")
            for each in _listed(prompt)
        ]

    def _one(self, prompt: str | Sequence[int], suffix: str | None) -> list[int]:
        vocab = self._vocab
        bos = [vocab.bos] if vocab.add_bos and vocab.bos >= 0 else []
        if not isinstance(prompt, str):
            ids = token_array(prompt, vocab.n_tokens).tolist()
            if not ids:
                raise _empty()
            if suffix is None or not self.can_fill_in:
                return ids
            return bos + self._fill_in(ids[len(bos) :] if ids[:1] == bos else ids, suffix)
        if suffix is not None and self.can_fill_in:
            return bos + self._fill_in(self._text(prompt, special=False), suffix)
        ids = self._text(prompt, special=True) if prompt else []
        if ids[:1] != bos:
            ids = bos + ids
        if not ids and vocab.bos >= 0:
            ids = [vocab.bos]
        if not ids:
            raise _empty()
        return ids

    def _fill_in(self, prefix: list[int], suffix: str) -> list[int]:
        vocab = self._vocab
        before = [vocab.fim_pre, *prefix]
        after = [vocab.fim_suf, *self._text(suffix, special=False)]
        middle = [vocab.fim_mid] if vocab.fim_mid >= 0 else []
        return (after + before if self._spm_infill else before + after) + middle

    def _text(self, text: str, *, special: bool) -> list[int]:
        if not text:
            return []
        encoded = text.encode("utf-8", "surrogatepass")
        self._vocab.check_length(encoded)
        return self.tokenizer.tokenize(encoded, False, special)


def _listed(prompt: Prompt) -> list[str | Sequence[int]]:
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, bytes | bytearray | Mapping) or not hasattr(prompt, "__getitem__"):
        raise InvalidArgumentError(
            "a prompt is a text, a list of token ids, or a list of either, not "
            f"{type(prompt).__name__}"
        )
    if len(prompt) == 0:
        raise _empty()
    if isinstance(prompt[0], str | Sequence):
        return cast("list[str | Sequence[int]]", list(prompt))
    return [cast("Sequence[int]", prompt)]


def _empty() -> InvalidArgumentError:
    return InvalidArgumentError(
        "the prompt is empty: give a text, or at least one token id (only a model with a BOS token "
        "can begin with nothing)"
    )
