"""Hooks in Python: logits processors and stopping criteria."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

from ..errors import LogitsProcessorError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LogitsProcessor: TypeAlias = (
    "Callable[[npt.NDArray[np.intc], npt.NDArray[np.single]], npt.NDArray[np.single] | None]"
)
"""Changes ``scores`` (float32, shape (n_vocab,)), in place or by returning new ones, knowing
``input_ids`` (int32, the prompt and what was generated)."""


class BatchLogitsProcessor(Protocol):
    """Changes the scores of all texts that share it, in one call for each step of the engine.

    Whatever is callable and has ``batch=True`` is one; as a base class this sets it. It is an
    object of its own identity: texts share a call if they were given the same object.
    """

    batch: bool = True

    @abstractmethod
    def __call__(
        self, input_ids: Sequence[npt.NDArray[np.intc]], scores: npt.NDArray[np.single]
    ) -> npt.NDArray[np.single] | None:
        """Change the scores, in place or by returning new ones.

        Args:
            input_ids: For each text its prompt and what was generated, int32.
            scores: float32, shape (texts, n_vocab). Which text has which row differs from step to
                step: texts come and go. They are lent for the call: copy what is to be kept.
        """


AnyLogitsProcessor: TypeAlias = Union["LogitsProcessor", BatchLogitsProcessor]
"""One that gets the scores of one text, or one that gets those of several."""

StoppingCriteria: TypeAlias = "Callable[[npt.NDArray[np.intc], npt.NDArray[np.single]], bool]"
"""Says from ``input_ids`` and the logits whether to stop before the next token."""


class LogitsProcessorList(list["AnyLogitsProcessor"]):
    """Processors that run one after another; those of one text and batch-wise ones may be mixed."""

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


def is_batch(processor: object) -> bool:
    """Whether a processor takes the scores of several texts at once."""
    return getattr(processor, "batch", False) is True  # others have methods of that name


def flattened(processor: Any) -> Iterator[AnyLogitsProcessor]:
    """What a processor consists of, lists in lists too."""
    if isinstance(processor, Sequence) and (
        not callable(processor) or type(processor).__call__ is LogitsProcessorList.__call__
    ):
        for each in processor:
            yield from flattened(each)
    else:
        yield processor


def process(
    processor: AnyLogitsProcessor | Sequence[AnyLogitsProcessor],
    input_ids: npt.NDArray[np.intc],
    scores: npt.NDArray[np.single],
) -> npt.NDArray[np.single]:
    """Run a processor of any style on one text and check what it gives.

    Raises:
        LogitsProcessorError: It returned something of another shape, or left NaN.
    """
    run: Any = processor
    changed: npt.NDArray[np.single]
    if is_batch(processor):
        changed = process_batch(run, [input_ids], scores[None])[0]
    elif isinstance(processor, Sequence) and not callable(processor):
        changed = LogitsProcessorList(processor)(input_ids, scores)
    else:
        changed = _changed(run(input_ids, scores), scores)
    check_numbers(changed)
    return changed


def process_batch(
    processor: BatchLogitsProcessor,
    input_ids: Sequence[npt.NDArray[np.intc]],
    scores: npt.NDArray[np.single],
) -> npt.NDArray[np.single]:
    """Run a batch-wise processor; whether it left NaN is to be checked row by row.

    Raises:
        LogitsProcessorError: It returned something of another shape.
    """
    return _changed(processor(input_ids, scores), scores)


def check_numbers(row: npt.NDArray[np.single]) -> None:
    """Refuse NaN.

    Raises:
        LogitsProcessorError: There is one.
    """
    import numpy as np

    if np.isnan(row.min()):  # the least of a row is NaN if any of it is
        raise LogitsProcessorError("a logits processor left NaN in the scores: use -inf to forbid")


def _changed(returned: Any, scores: npt.NDArray[np.single]) -> npt.NDArray[np.single]:
    import numpy as np

    if returned is None or returned is scores:
        changed = scores
    else:
        changed = np.asarray(returned, dtype=np.float32)
    if changed.shape != scores.shape:
        raise LogitsProcessorError(
            f"a logits processor returned shape {changed.shape}; it must return scores of shape "
            f"{scores.shape}, or change those that it got and return None"
        )
    return np.ascontiguousarray(changed)
