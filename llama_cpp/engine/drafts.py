"""``Drafter``: guesses of the next tokens, checked before the engine believes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import TokenError

LENGTH_MAX = 16
"""How many tokens are guessed at most."""

# A guess costs more than it saves where fewer tokens than this are right. Each one that is checked
# costs a third to a half of a decode, on processors and for small models.
_PAYS_FROM = 0.4
_PAUSE_MIN, _PAUSE_MAX = 8, 128


class Pace:
    """How much to guess in one text: more while it is right, nothing for a while when it is not."""

    def __init__(self) -> None:
        self._length = 4
        self._rate = 0.6
        self._pause = 0
        self._next_pause = _PAUSE_MIN

    def wanted(self) -> int:
        """Return how many tokens to guess now."""
        if self._pause:
            self._pause -= 1
            return 0
        return self._length

    def learn(self, n_drafted: int, n_accepted: int) -> None:
        """Know how many of a guess's tokens were right."""
        self._rate += (n_accepted / n_drafted - self._rate) / 4
        if n_accepted == n_drafted:
            self._length = min(2 * self._length, LENGTH_MAX)
            self._next_pause = _PAUSE_MIN
        else:
            self._length = max(1, n_accepted)
        if self._rate < _PAYS_FROM:
            self._pause, self._rate = self._next_pause, 0.6
            self._next_pause = min(2 * self._next_pause, _PAUSE_MAX)


class Drafting:
    """The guesses of one text.

    Args:
        guess: Returns what may follow tokens, at most so many.
    """

    def __init__(self, guess: Callable[[Sequence[int], int], list[int]]) -> None:
        self._guess = guess
        self._pace = Pace()

    def next(self, tokens: Sequence[int], room: int) -> list[int]:
        """Return tokens that may come next, none where guessing does not pay.

        Args:
            tokens: The text so far.
            room: How many fit.

        Raises:
            TokenError: The draft model gave an id that is not in the vocabulary.
        """
        wanted = min(self._pace.wanted(), room)
        return self._guess(tokens, wanted) if wanted > 0 else []

    def learn(self, n_drafted: int, n_accepted: int) -> None:
        """Know how many of the last guess's tokens were right."""
        self._pace.learn(n_drafted, n_accepted)


class Drafter:
    """Asks a draft model for guesses.

    Args:
        model: Returns the tokens that may follow ``input_ids`` (int32, shape (n,)). If it has a
            method ``for_text``, each text gets what that returns; if it has ``continuation``, that
            is called with a list of tokens and how many are wanted.
        n_vocab: Tokens in the vocabulary.
    """

    def __init__(self, model: Callable[..., Any], n_vocab: int) -> None:
        self._model = model
        self._n_vocab = n_vocab

    def begin(self) -> Drafting:
        """Begin a text."""
        for_text = getattr(self._model, "for_text", None)
        own = self if for_text is None else Drafter(for_text(), self._n_vocab)
        return Drafting(own.draft)

    def draft(self, tokens: Sequence[int], n_max: int) -> list[int]:
        """Return at most ``n_max`` tokens that may come next.

        Raises:
            TokenError: The draft model gave an id that is not in the vocabulary.
        """
        continuation = getattr(self._model, "continuation", None)
        if continuation is not None:
            found = continuation(tokens, n_max)
        else:
            import numpy as np

            found = self._model(np.array(tokens, np.int32))
        guesses = [int(token) for token in found[:n_max]]
        for token in guesses:
            if not 0 <= token < self._n_vocab:
                raise TokenError(
                    f"the draft model gave token {token}, but the vocabulary has "
                    f"{self._n_vocab} tokens: it must be one for the same vocabulary"
                )
        return guesses
