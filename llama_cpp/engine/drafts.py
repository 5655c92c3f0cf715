"""``Drafter``: guesses of the next tokens, checked before the engine believes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import TokenError


class Drafter:
    """Asks a draft model for guesses.

    Args:
        model: Returns the tokens that may follow ``input_ids`` (int32, shape (n,)).
        n_vocab: Tokens in the vocabulary.
    """

    def __init__(self, model: Callable[..., Any], n_vocab: int) -> None:
        self._model = model
        self._n_vocab = n_vocab

    def draft(self, tokens: Sequence[int], n_max: int) -> list[int]:
        """Return at most ``n_max`` tokens that may come next.

        Raises:
            TokenError: The draft model gave an id that is not in the vocabulary.
        """
        import numpy as np

        guesses = [int(token) for token in self._model(np.array(tokens, np.int32))][:n_max]
        for token in guesses:
            if not 0 <= token < self._n_vocab:
                raise TokenError(
                    f"the draft model gave token {token}, but the vocabulary has "
                    f"{self._n_vocab} tokens: it must be one for the same vocabulary"
                )
        return guesses
