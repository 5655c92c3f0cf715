"""Hooks in Python: logits processors and stopping criteria."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LogitsProcessor: TypeAlias = (
    "Callable[[npt.NDArray[np.intc], npt.NDArray[np.single]], npt.NDArray[np.single] | None]"
)
"""Changes ``scores`` (float32, shape (n_vocab,)), in place or by returning new ones, knowing
``input_ids`` (int32, the prompt and what was generated)."""

StoppingCriteria: TypeAlias = "Callable[[npt.NDArray[np.intc], npt.NDArray[np.single]], bool]"
"""Says from ``input_ids`` and the logits whether to stop before the next token."""


class LogitsProcessorList(list["LogitsProcessor"]):
    """Processors that run one after another."""

    def __call__(
        self, input_ids: npt.NDArray[np.intc], scores: npt.NDArray[np.single]
    ) -> npt.NDArray[np.single]:
        """Return the scores after every processor."""
        for processor in self:
            scores = process(processor, input_ids, scores)
        return scores


class StoppingCriteriaList(list["StoppingCriteria"]):
    """Criteria of which any one stops."""

    def __call__(self, input_ids: npt.NDArray[np.intc], logits: npt.NDArray[np.single]) -> bool:
        """Return whether to stop."""
        return any(criterion(input_ids, logits) for criterion in self)


class MinTokensLogitsProcessor:
    """Forbids the end of the text until it has so many tokens.

    Args:
        min_tokens: How many tokens after those of the first call.
        token_eos: The token that ends the text.
    """

    def __init__(self, min_tokens: int, token_eos: int) -> None:
        self.min_tokens = min_tokens
        self.token_eos = token_eos
        self.prompt_tokens: int | None = None

    def __call__(
        self, input_ids: npt.NDArray[np.intc], scores: npt.NDArray[np.single]
    ) -> npt.NDArray[np.single]:
        """Return the scores, without the end of the text where it is too early."""
        if self.prompt_tokens is None:
            self.prompt_tokens = len(input_ids)
        if len(input_ids) - self.prompt_tokens < self.min_tokens:
            scores[self.token_eos] = float("-inf")
        return scores


def process(
    processor: LogitsProcessor | Sequence[LogitsProcessor],
    input_ids: npt.NDArray[np.intc],
    scores: npt.NDArray[np.single],
) -> npt.NDArray[np.single]:
    """Run a processor of either style and check what it gives.

    Raises:
        InvalidArgumentError: It returned something of another shape, or left NaN.
    """
    import numpy as np

    if isinstance(processor, Sequence) and not callable(processor):
        processor = LogitsProcessorList(processor)
    returned = processor(input_ids, scores)
    if returned is None or returned is scores:
        changed = scores
    else:
        changed = np.asarray(returned, dtype=np.float32)
    if changed.shape != scores.shape:
        raise InvalidArgumentError(
            f"a logits processor returned shape {changed.shape}; it must return scores of shape "
            f"{scores.shape}, or change those that it got and return None"
        )
    if np.isnan(changed.min()):  # the least of a row is NaN if any of it is
        raise InvalidArgumentError("a logits processor left NaN in the scores: use -inf to forbid")
    return np.ascontiguousarray(changed)
