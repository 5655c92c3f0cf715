"""``Drafter``: guesses of the next tokens, checked before the engine believes them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import TokenError

if TYPE_CHECKING:
    from ...handles import Memory
    from ..scheduler import Chunk
    from ..slots import Slot

LENGTH_MAX = 12
"""How many tokens are guessed at most."""

LEAST_LOGPROB = -0.7
"""A guess ends before a token that its model finds less likely than this (llama.cpp's
`--spec-draft-p-min` asks the same question)."""

_COST = 1 / 3
"""What checking one more token costs, in decodes: measured on processors, for small models. It is
no clock's, so that the same call gives the same batches, and to the last bit the same logits."""
_PAUSE_MIN, _PAUSE_MAX = 8, 128


class Pace:
    """How much to guess in one text: more while it is right, nothing for a while when it is not.

    The length is that with the largest expected gain for the share of tokens that were right
    (Leviathan 2023, https://arxiv.org/abs/2211.17192, theorem 3.8).
    """

    def __init__(self) -> None:
        self._rate = 0.7
        self._pause = 0
        self._next_pause = _PAUSE_MIN

    def wanted(self) -> int:
        """Return how many tokens to guess now."""
        if self._pause:
            self._pause -= 1
            return 0
        best, length, decoded = 1.0, 0, 1.0
        for count in range(1, LENGTH_MAX + 1):
            decoded += self._rate**count
            if (gain := decoded / (1 + _COST * count)) < best:
                break
            best, length = gain, count
        return length

    def learn(self, n_drafted: int, n_accepted: int) -> None:
        """Know how many of a guess's tokens were right."""
        n_seen = min(n_accepted + 1, n_drafted)  # those after a wrong one say nothing
        memory = 0.75**n_seen
        self._rate = self._rate * memory + n_accepted / n_seen * (1 - memory)
        if n_accepted == n_drafted:
            self._next_pause = _PAUSE_MIN
        elif self._rate < _COST:
            self._pause, self._rate = self._next_pause, 0.5
            self._next_pause = min(2 * self._next_pause, _PAUSE_MAX)


class Drafting(Pace):
    """The guesses of one text.

    Args:
        guess: Returns what may follow tokens, at most so many.
    """

    def __init__(self, guess: Callable[[Sequence[int], int], list[int]]) -> None:
        super().__init__()
        self._guess = guess

    def next(self, tokens: Sequence[int], room: int) -> list[int]:
        """Return tokens that may come next, none where guessing does not pay.

        Args:
            tokens: The text so far.
            room: How many fit.

        Raises:
            TokenError: The draft model gave an id that is not in the vocabulary.
        """
        wanted = min(self.wanted(), room)
        return self._guess(tokens, wanted) if wanted > 0 else []


class Drafter(abc.ABC):
    """Guesses for the texts of a step, of which one decode then checks all."""

    memory: Memory | None = None
    """What it remembers of the sequences of the engine: changed together with theirs."""

    @abc.abstractmethod
    def guess(self, texts: Sequence[tuple[Slot, int]]) -> list[tuple[Slot, Exception]]:
        """Guess what follows in slots, at most so many tokens in each.

        Returns:
            Those where guessing failed, and how.
        """

    def follow(  # noqa: B027 - nothing to do for those that read texts
        self,
        chunks: Sequence[Chunk],
        tokens: Sequence[int],
        positions: Sequence[int],
        seq_ids: Sequence[int],
    ) -> None:
        """Know what was decoded, while its results are there."""


class ModelDrafter(Drafter):
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

    def guess(self, texts: Sequence[tuple[Slot, int]]) -> list[tuple[Slot, Exception]]:
        """Guess what follows in slots, at most so many tokens in each.

        Returns:
            Those where guessing failed, and how.
        """
        failed: list[tuple[Slot, Exception]] = []
        for slot, room in texts:
            request = slot.request
            assert request is not None
            try:
                if not isinstance(request.drafting, Drafting):
                    request.drafting = self._begin()
                slot.drafts = request.drafting.next(request.ids, room)
            except Exception as error:
                failed.append((slot, error))
            else:
                request.n_drafted += len(slot.drafts)
        return failed

    def _begin(self) -> Drafting:
        for_text = getattr(self._model, "for_text", None)
        own = self if for_text is None else ModelDrafter(for_text(), self._n_vocab)
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
