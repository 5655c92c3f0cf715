"""``MtpDrafter``: guesses by the model's own head for multi-token prediction (MTP)."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from ...errors import LlamaError
from ...handles import Batch, Context
from ...handles.mtp import MtpContext, hidden_states
from ...handles.token_sampler import TopLogprobs
from ..draft_length import LENGTH_MAX, DraftLength
from ..scheduler import Chunk
from ..slots import Slot
from .drafter import LEAST_LOGPROB, Drafter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    States = npt.NDArray[np.float32]

_KEPT = LENGTH_MAX + 1
"""After how many of the last tokens the states are kept: any of them may be the last right one."""


class MtpDrafter(Drafter):
    """Reads along with the target, and guesses for all texts of a step together.

    At each position the head reads the token there with the target's state before it; when it
    guesses, with its own state. Its memory may lack tokens, or have read one with a wrong state:
    the guesses are worse then, and the text is the same.

    Args:
        target: The context of the engine.
        ends: Tokens that are never guessed.

    Raises:
        InvalidArgumentError: The model has no such head, or one that cannot be used.
        LlamaError: What creating a context raises.
    """

    def __init__(self, target: Context, ends: Container[int]) -> None:
        self._target = target
        self._context = MtpContext(target)
        self.memory = self._memory = self._context.memory
        self._ends = ends
        self._batch = Batch(self._context.n_batch, state=self._context.state_width)
        self._best = TopLogprobs(target.model.n_vocab, 1)
        self._states: dict[int, tuple[int, States]] = {}

    def follow(
        self,
        chunks: Sequence[Chunk],
        tokens: Sequence[int],
        positions: Sequence[int],
        seq_ids: Sequence[int],
    ) -> None:
        """Read what the target has just decoded, guesses too."""
        count = len(tokens)
        try:
            states = hidden_states(self._target, count)
            self._batch.states[1:count] = states[:-1]
            first = 0
            for slot, n_tokens, _ in chunks:
                end = first + n_tokens
                self._batch.states[first] = self._state_before(slot.id, positions[first])
                kept = states[max(first, end - _KEPT) : end].copy()
                self._states[slot.id] = (positions[first] + n_tokens - len(kept), kept)
                self._end_at(slot.id, positions[first])
                first = end
            self._batch.fill(tokens, positions, seq_ids, [False] * count)
            self._context.decode(self._batch)
        except LlamaError:
            self._forget()

    def guess(self, texts: Sequence[tuple[Slot, int]]) -> list[tuple[Slot, Exception]]:
        """Guess what follows in slots, at most so many tokens in each.

        Returns:
            None of them: where guessing fails there are no guesses.
        """
        lengths: dict[Slot, int] = {}
        for slot, room in texts:
            assert slot.request is not None
            drafting = slot.request.drafting = slot.request.drafting or DraftLength()
            if (length := min(drafting.wanted(), room)) > 0:
                lengths[slot] = length
        try:
            self._extend(lengths)
        except LlamaError:
            self._forget()
        for slot in lengths:
            assert slot.request is not None
            slot.request.n_drafted += len(slot.drafts)
        return []

    def _extend(self, lengths: dict[Slot, int]) -> None:
        batch, guessing = self._batch, list(lengths)
        for index, slot in enumerate(guessing):
            self._end_at(slot.id, slot.n_cached)
            batch.states[index] = self._state_before(slot.id, slot.n_cached)
        while guessing:
            batch.fill(
                [slot.drafts[-1] if slot.drafts else slot.tokens[-1] for slot in guessing],
                [slot.n_cached + len(slot.drafts) for slot in guessing],
                [slot.id for slot in guessing],
                [True] * len(guessing),
            )
            self._context.decode(batch)
            sure = []
            for index, slot in enumerate(guessing):
                _, [(token, logprob)] = self._best.of(self._context, index, 0)
                if logprob < LEAST_LOGPROB or token in self._ends:
                    continue
                slot.drafts.append(token)
                if len(slot.drafts) < lengths[slot]:
                    sure.append(index)
            states = hidden_states(self._context, len(guessing))
            batch.states[: len(sure)] = states[sure]
            guessing = [guessing[index] for index in sure]

    def _state_before(self, seq_id: int, position: int) -> States | float:
        """The target's state after the token before a position; 0 where it is not known."""
        start, states = self._states.get(seq_id, (0, ()))
        return states[position - 1 - start] if start < position <= start + len(states) else 0.0

    def _end_at(self, seq_id: int, position: int) -> None:
        """Have the next position be this one."""
        end = self._memory.seq_pos_max(seq_id) + 1
        # A gap is no position to go on from.
        if end < position or (end > position and not self._memory.seq_rm(seq_id, position, -1)):
            self._memory.seq_rm(seq_id, -1, -1)

    def _forget(self) -> None:
        self._states.clear()
        if not self._context.closed:
            self._memory.clear()
