"""``Drafter``: guesses of the next tokens, checked before the engine believes them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import TokenError
from ..draft_length import DraftLength

if TYPE_CHECKING:
    from ...handles import Memory
    from ..scheduler import Chunk
    from ..slots import Slot

LEAST_LOGPROB = -0.7
"""A guess ends before a token that its model finds less likely than this (llama.cpp's
`--spec-draft-p-min` asks the same question)."""


class Drafting(DraftLength):
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
