"""Logits processors of several texts, the batch-wise ones called once for all that share them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from .hooks import check_numbers, flattened, is_batch, process, process_batch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def has_batch(processor: object) -> bool:
    """Whether a processor is a batch-wise one, or a list with one in it."""
    return any(map(is_batch, flattened(processor)))


def process_rows(
    processors: Sequence[object],
    input_ids: Sequence[npt.NDArray[np.intc]],
    rows: npt.NDArray[np.single],
) -> list[npt.NDArray[np.single] | Exception]:
    """Run the processors of several texts, each in the order of its list.

    A batch-wise one is called once, for all texts that have the same object; more often only where
    lists have the same ones in different orders.

    Args:
        processors: One, or a list, for each text.
        input_ids: The tokens of each.
        rows: The scores of each, shape (texts, n_vocab); they may be changed.

    Returns:
        The scores of each text; in place of them what its processors raised.
    """
    texts = [
        _Text(number, processor, ids, row)
        for number, (processor, ids, row) in enumerate(
            zip(processors, input_ids, rows, strict=True)
        )
    ]
    while True:
        for text in texts:
            text.run_row_wise()
        waiting = [text for text in texts if text.pending]
        if not waiting:
            return [text.result for text in texts]
        shared = _next_shared(waiting)
        _run_shared(shared, [text for text in waiting if text.pending[0] is shared], rows)


class _Text:
    """One text on its way through its processors."""

    def __init__(
        self,
        number: int,
        processor: object,
        ids: npt.NDArray[np.intc],
        row: npt.NDArray[np.single],
    ) -> None:
        self.number = number
        self.pending: deque[Any] = deque(flattened(processor))
        self.ids = ids
        self.row = self.given = row
        self.error: Exception | None = None

    @property
    def result(self) -> npt.NDArray[np.single] | Exception:
        return self.row if self.error is None else self.error

    def run_row_wise(self) -> None:
        """Run processors up to the next batch-wise one."""
        try:
            while self.pending and not is_batch(self.pending[0]):
                self.row = process(self.pending.popleft(), self.ids, self.row)
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        self.error = error
        self.pending.clear()


def _next_shared(waiting: Sequence[_Text]) -> Any:
    """The batch-wise processor that no text comes to later, so that all can share the call."""
    later = {id(each) for text in waiting for each in islice(text.pending, 1, None)}
    due = [text.pending[0] for text in waiting]
    return next((each for each in due if id(each) not in later), due[0])


def _run_shared(processor: Any, texts: Sequence[_Text], rows: npt.NDArray[np.single]) -> None:
    import numpy as np

    try:
        block = _block(texts, rows)
        scores = np.stack([text.row for text in texts]) if block is None else block
        changed = process_batch(processor, [text.ids for text in texts], scores)
    except Exception as error:
        for text in texts:
            text.fail(error)
        return
    for text, row in zip(texts, changed, strict=True):
        text.pending.popleft()
        if changed is not block:
            text.row = row
        try:
            check_numbers(row)
        except Exception as error:
            text.fail(error)


def _block(texts: Sequence[_Text], rows: npt.NDArray[np.single]) -> npt.NDArray[np.single] | None:
    """The rows of the texts where they lie one after another, which saves a copy."""
    first = texts[0].number
    for number, text in enumerate(texts, first):
        if text.number != number or text.row is not text.given:
            return None
    return rows[first : first + len(texts)]
