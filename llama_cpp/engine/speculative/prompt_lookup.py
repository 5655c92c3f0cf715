"""Draft models: cheap guesses of the next tokens, which the model checks in one decode."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from ...validation.native_arguments import INT32_MAX, integer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["LlamaDraftModel", "LlamaPromptLookupDecoding"]


class LlamaDraftModel(abc.ABC):
    """Guesses tokens. The text is the same as without, and sooner there when it is right."""

    @abc.abstractmethod
    def __call__(self, input_ids: npt.NDArray[np.intc], /, **kwargs: Any) -> npt.NDArray[np.intc]:
        """Return the tokens that may follow.

        Args:
            input_ids: The prompt and what was generated: int32, shape (n,).
            **kwargs: For later.
        """


class LlamaPromptLookupDecoding(LlamaDraftModel):
    """Guesses what followed when the last tokens were last seen (Saxena 2023, prompt lookup).

    A hash map of n-grams is kept from call to call and extended by the new tokens, so that a
    guess does not cost more in a long text. What was last seen a few tokens ago goes round in a
    circle: the guess does too.

    Args:
        max_ngram_size: So many of the last tokens are looked for, and fewer where they are new.
        num_pred_tokens: How many tokens to guess.
        min_ngram_size: How few of them are still a reason to guess. One token recurs in any text.

    Raises:
        InvalidArgumentError: A number is not positive, or the sizes contradict each other.
    """

    def __init__(
        self, max_ngram_size: int = 2, num_pred_tokens: int = 10, min_ngram_size: int = 1
    ) -> None:
        self.max_ngram_size = integer("max_ngram_size", max_ngram_size, 1, INT32_MAX)
        self.min_ngram_size = integer("min_ngram_size", min_ngram_size, 1, self.max_ngram_size)
        self.num_pred_tokens = integer("num_pred_tokens", num_pred_tokens, 1, INT32_MAX)
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}

    def __call__(self, input_ids: npt.NDArray[np.intc], /, **kwargs: Any) -> npt.NDArray[np.intc]:
        """Return at most ``num_pred_tokens`` tokens, none where nothing was seen before."""
        import numpy as np

        return np.array(self.continuation(input_ids.tolist(), self.num_pred_tokens), np.intc)

    def for_text(self) -> LlamaPromptLookupDecoding:
        """Make one like it for a text of its own."""
        return LlamaPromptLookupDecoding(
            self.max_ngram_size, self.num_pred_tokens, self.min_ngram_size
        )

    def continuation(self, tokens: list[int], n_max: int) -> list[int]:
        """Guess from a list.

        Args:
            tokens: The prompt and what was generated.
            n_max: How many tokens are wanted; never more than ``num_pred_tokens`` come.
        """
        known = len(self._tokens)
        if tokens[:known] != self._tokens:
            self._after.clear()
            self._tokens.clear()
            known = 0
        sizes = range(self.max_ngram_size, self.min_ngram_size - 1, -1)
        # The last token is not indexed yet: what follows it is what is asked for.
        for end in range(max(known, 1), len(tokens)):
            for size in sizes:
                if size <= end:
                    self._after[tuple(tokens[end - size : end])] = end
        self._tokens += tokens[known:]
        for size in sizes:
            start = self._after.get(tuple(tokens[-size:]))
            if start is not None:
                length = min(n_max, self.num_pred_tokens)
                period = tokens[start : start + length]
                return (period * -(-length // len(period)))[:length]
        return []

    @staticmethod
    def find_candidate_pred_tokens(
        input_ids: npt.NDArray[np.intc], max_ngram_size: int, num_pred_tokens: int
    ) -> npt.NDArray[np.intc]:
        """Guess from scratch: see the class."""
        return LlamaPromptLookupDecoding(max_ngram_size, num_pred_tokens)(input_ids)
