"""What ``Llama`` is: a model with its tokens, its addresses, its seeds and its end."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import llama_cpp as raw
from ._internals import LlamaContext, LlamaModel
from .engine import Engine
from .engine.slots import shared_prefix
from .errors import ClosedError, InvalidArgumentError
from .llama_tokenizer import BaseLlamaTokenizer, LlamaTokenizer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

RANDOM_SEED = raw.LLAMA_DEFAULT_SEED


class ModelAddress(raw.llama_model_p):
    """The address of a model, for raw calls, which knows the texts of its tokens too."""

    def __new__(cls, model: LlamaModel) -> Self:
        """Take the address of this model."""
        return super().__new__(cls, int(model.model))

    def __init__(self, model: LlamaModel) -> None:
        super().__init__(int(self))
        self._model = model

    def token_to_piece(self, token: int, special: bool = False) -> bytes:
        """The bytes that one token stands for."""
        return self._model.token_to_piece(token, special)


class LlamaCore:
    """The part of ``Llama`` that needs no tokens to be computed."""

    _model: LlamaModel
    _ctx: LlamaContext
    _engine: Engine
    _arguments: dict[str, Any]
    _n_vocab: int
    _vocab_only: bool
    tokenizer_: BaseLlamaTokenizer

    # Tokens.

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Split a text into token ids.

        Args:
            text: UTF-8.
            add_bos: Whether BOS comes first, where the model wants it.
            special: Whether the text of special tokens stands for those tokens.

        Raises:
            TextError: The text is too long, or not Unicode.
        """
        return self.tokenizer_.tokenize(text, add_bos, special)

    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes:
        """Join token ids to the bytes of a text.

        Args:
            tokens: The ids.
            prev_tokens: Those before; only Hugging Face's tokenizers need them.
            special: Whether special tokens are part of the text.

        Raises:
            TokenError: An id is not in the vocabulary.
        """
        return self.tokenizer_.detokenize(tokens, prev_tokens=prev_tokens, special=special)

    def tokenizer(self) -> LlamaTokenizer:
        """The model's own tokenizer."""
        return LlamaTokenizer(self)  # type: ignore[arg-type]  # Llama is the only heir

    def n_vocab(self) -> int:
        """Tokens in the vocabulary: the width of a row of logits."""
        return self._model.n_vocab()

    def token_bos(self) -> int:
        """The token that begins a text, or -1."""
        return self._model.token_bos()

    def token_eos(self) -> int:
        """The token that ends a text, or -1."""
        return self._model.token_eos()

    def token_nl(self) -> int:
        """The line feed, or -1."""
        return self._model.token_nl()

    # The model.

    @property
    def model(self) -> ModelAddress:
        """The address of the ``llama_model``."""
        return ModelAddress(self._model)

    @property
    def ctx(self) -> raw.llama_context_p:
        """The address of the ``llama_context``."""
        self._check_context()
        return self._ctx.ctx

    def n_ctx(self) -> int:
        """Tokens that one sequence may have."""
        self._check_context()
        return self._engine.n_ctx

    def n_embd(self) -> int:
        """The width of the hidden state."""
        return self._model.n_embd()

    def pooling_type(self) -> int:
        """How embeddings are pooled: ``LLAMA_POOLING_TYPE_*``."""
        self._check_context()
        return self._ctx.pooling_type()

    # Seeds.

    def set_seed(self, seed: int) -> None:
        """Set what the seeds of calls without a seed of their own follow from.

        Args:
            seed: 2**32 - 1, or a negative number, takes a random one.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or seed >= 2**32:
            raise InvalidArgumentError(f"seed={seed!r} must be an integer below 2**32")
        is_random = seed < 0 or seed == RANDOM_SEED
        self._seed = RANDOM_SEED if is_random else seed
        self._seeds = random.Random(None if is_random else seed)

    def _seed_for(self, seed: int | None) -> int:
        if seed is None or seed == -1 or seed == RANDOM_SEED:
            return self._seeds.randrange(RANDOM_SEED)
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < RANDOM_SEED:
            raise InvalidArgumentError(
                f"seed={seed!r} must be an integer from 0 to {RANDOM_SEED - 1}"
            )
        return seed

    # Its end.

    def close(self) -> None:
        """Free the model. What runs on other threads ends with ``ClosedError``."""
        if "_engine" in self.__dict__:
            self._engine.close()
        if "_embedder" in self.__dict__:
            self.__dict__["_embedder"].close()
        if "_ctx" in self.__dict__:
            self._ctx.close()
        if "_model" in self.__dict__:
            self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The handles free themselves; scripts call this by hand to free the model.
        with contextlib.suppress(Exception):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self._arguments

    def __setstate__(self, arguments: dict[str, Any]) -> None:
        self.__init__(**arguments)  # type: ignore[misc]

    def _check_context(self) -> None:
        if self._vocab_only:
            raise InvalidArgumentError(
                "this Llama has only a vocabulary (vocab_only=True): it can tokenize and nothing "
                "else"
            )
        if self._ctx.handle.closed:
            raise ClosedError("this Llama is closed: create a new one")

    @staticmethod
    def logits_to_logprobs(logits: npt.ArrayLike, axis: int = -1) -> npt.NDArray[np.single]:
        """Turn logits into log-probabilities, float32 of the same shape.

        Args:
            logits: Any shape.
            axis: Along which the probabilities sum up to 1.
        """
        import numpy as np

        values = np.asarray(logits, np.float32)
        shifted = values - values.max(axis=axis, keepdims=True)
        total = np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
        logprobs: npt.NDArray[np.single] = (shifted - total).astype(np.single)
        return logprobs

    @staticmethod
    def longest_token_prefix(a: Sequence[int], b: Sequence[int]) -> int:
        """Return how many tokens two sequences begin with in common."""
        return shared_prefix(list(a), list(b))
