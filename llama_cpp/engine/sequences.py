"""``Sequences``: the memory of a context, changed together with what the slots know of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from .. import llama_cpp as raw
from ..errors import NoKVSlotError, StateError
from ..handles import Context, Memory
from .adapter_spans import EVERYTHING
from .slots import Checkpoint, Slot

CHECKPOINTS_MAX = 8
"""Per slot; the oldest goes first."""

_PARTIAL = raw.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY


class Sequences:
    """Cuts, copies and saves sequences, and checks what the memory says to that.

    Args:
        context: Its memory is all theirs.
        follower: A memory of the same sequences, which need not have all that they have.
    """

    def __init__(self, context: Context, follower: Memory | None = None) -> None:
        self._context = context
        self._memory = context.memory
        self._memories = [self._memory] if follower is None else [self._memory, follower]
        model = context.model
        self._n_swa = int(model.call(raw.llama_model_n_swa))
        self._has_state = model.is_recurrent or model.is_hybrid
        windowed = self._n_swa > 0 and not context.params.swa_full
        self.needs_checkpoints = self._has_state or windowed
        """Whether a sequence cannot simply forget its end."""
        self._cannot_forget = self.needs_checkpoints
        n_rollback = int(context.call(raw.llama_n_rs_seq)) if self._has_state else 0
        self.drafts_max = 0 if windowed else n_rollback if self._has_state else context.n_batch
        """How many guesses a sequence can forget, right after the decode that checked them."""
        self._rolls_back = n_rollback > 0
        self._rolled_back: set[int] = set()
        self._unsure: set[int] = set()
        self.saves_ends = self._has_state or self._n_swa > 0
        """Whether a saved state cannot forget its end: of windows it has the last cells only."""
        self.can_shift = not self._has_state and all(each.can_shift for each in self._memories)

    def cut(self, slot: Slot, n_tokens: int) -> None:
        """Keep at most the first ``n_tokens`` tokens of a slot.

        Fewer of them, or none, where the memory cannot forget the others: then it goes back to
        the last checkpoint before them.
        """
        # Somebody with the address of the context may have changed its memory.
        if self._end(slot) < slot.n_cached:
            slot.n_cached = 0
        n_tokens = min(n_tokens, slot.n_cached)
        if n_tokens <= slot.n_exact:
            slot.n_exact = EVERYTHING
        if n_tokens and self._forget_after(slot, n_tokens):
            slot.checkpoints = [c for c in slot.checkpoints if c.n_tokens <= n_tokens]
            slot.n_cached = n_tokens
        else:
            self._rewind(slot, n_tokens)

    def copy(self, source: Slot, target: Slot, n_tokens: int) -> None:
        """Let ``target`` begin like ``source``, with at most so many tokens."""
        self.clear(target)
        for memory in self._memories:
            memory.seq_cp(source.id, target.id)
        if source.id in self._rolled_back:
            # What they share is the state after the guesses: the engine goes back when it next
            # decodes the source, or writes its state.
            with suppress(StateError):
                state = self._context.state.get_sequence(source.id)
                self._memory.seq_rm(target.id, -1, -1)
                self._context.state.set_sequence(state, target.id)
        target.tokens = source.tokens[: source.n_cached]
        target.n_cached, target.n_exact = source.n_cached, source.n_exact
        target.short_end, target.spans = source.short_end, source.spans
        target.checkpoints = list(source.checkpoints)
        self.cut(target, n_tokens)

    def clear(self, slot: Slot) -> None:
        """Forget a sequence."""
        for memory in self._memories:
            memory.seq_rm(slot.id, -1, -1)
        slot.n_cached, slot.n_exact = 0, EVERYTHING
        slot.checkpoints.clear()
        self._rolled_back.discard(slot.id)
        self._unsure.discard(slot.id)

    def reach(self, slot: Slot, n_tokens: int) -> int:
        """How many of the first ``n_tokens`` tokens would be left if a slot forgot the others."""
        if not self._cannot_forget or n_tokens == slot.n_cached:
            return n_tokens
        return max((c.n_tokens for c in slot.checkpoints if c.n_tokens <= n_tokens), default=0)

    def load(
        self, slot: Slot, tokens: Sequence[int], memory: bytes, checkpoints: Sequence[Checkpoint]
    ) -> None:
        """Let a slot hold a state; none if the state does not fit."""
        self.clear(slot)
        with suppress(StateError):
            self._context.state.set_sequence(memory, slot.id)
            slot.tokens, slot.n_cached = list(tokens), len(tokens)
            slot.checkpoints, slot.short_end = list(checkpoints), (0, 0)

    def save(self, slot: Slot) -> None:
        """Make a checkpoint of a slot as it is now."""
        if slot.checkpoints and slot.checkpoints[-1].n_tokens >= slot.n_cached:
            return
        state = self._context.state.get_sequence(slot.id, _PARTIAL)
        slot.checkpoints.append(Checkpoint(slot.n_cached, state))
        del slot.checkpoints[:-CHECKPOINTS_MAX]

    def shift(self, slot: Slot, n_keep: int) -> None:
        """Drop the older half of a slot's tokens after the first ``n_keep``."""
        n_drop = max(1, (slot.n_cached - n_keep) // 2)
        for memory in self._memories:
            memory.seq_rm(slot.id, n_keep, n_keep + n_drop)
            memory.seq_add(slot.id, n_keep + n_drop, slot.n_cached, -n_drop)
        del slot.tokens[n_keep : n_keep + n_drop]
        slot.n_cached -= n_drop
        slot.n_exact = min(slot.n_exact, n_keep)
        slot.spans = tuple(
            span._replace(start=min(span.start, max(n_keep, span.start - n_drop)))
            for span in slot.spans
        )
        slot.checkpoints.clear()

    @contextmanager
    def decoding(self, slots: Iterable[Slot]) -> Iterator[None]:
        """Know that slots are decoded, and whether that ends well."""
        ids = {slot.id for slot in slots} if self._rolls_back else set()
        self._unsure |= ids
        try:
            yield
        except NoKVSlotError:
            self._unsure -= ids
            raise
        self._unsure -= ids
        self._rolled_back -= ids

    def reject(self, slot: Slot) -> None:
        """Forget the guesses that the last decode has computed after the tokens of a slot."""
        if not self._rolls_back:
            self.repair(slot)
        elif self._end(slot) > slot.n_cached:
            if self._memory.seq_rm(slot.id, slot.n_cached, -1):
                self._rolled_back.add(slot.id)
            else:
                self.cut(slot, slot.n_cached)

    def repair(self, slot: Slot) -> None:
        """Make the memory agree with the slot after a decode that did not end as planned."""
        if slot.id in self._unsure:
            # The engine says that it has rolled back, to a state that it may not have computed.
            self._unsure.discard(slot.id)
            self._rewind(slot, slot.n_cached)
        elif self._end(slot) != slot.n_cached:
            self.cut(slot, slot.n_cached)

    def remember_end(self, slot: Slot) -> None:
        """Take what the memory says now for the end of an image that it holds."""
        slot.short_end = (slot.n_cached, self._memory.seq_pos_max(slot.id) + 1)

    def _end(self, slot: Slot) -> int:
        """How many tokens the memory holds."""
        end = self._memory.seq_pos_max(slot.id) + 1
        return slot.n_cached if (slot.n_cached, end) == slot.short_end else end

    def _forget_after(self, slot: Slot, n_tokens: int) -> bool:
        """Return whether the memory is now what it was after the first ``n_tokens`` tokens."""
        # A state is that of one position: it must be that of the last token kept.
        if self._has_state and self._memory.seq_pos_max(slot.id) != n_tokens - 1:
            return False
        if not self._memory.seq_rm(slot.id, n_tokens, -1):
            return False
        if not (self._has_state or self._n_swa):
            return True
        if self._memory.seq_pos_max(slot.id) != n_tokens - 1:
            return False
        # Even a window that keeps all cells lacks those that were left out of a saved state.
        first = self._memory.seq_pos_min(slot.id)
        return self._has_state or first <= max(0, n_tokens - self._n_swa)

    def _rewind(self, slot: Slot, n_tokens: int) -> None:
        """Go back to the last checkpoint within so many tokens, or begin anew."""
        slot.checkpoints = [c for c in slot.checkpoints if c.n_tokens <= n_tokens]
        if not n_tokens or not slot.checkpoints:
            self.clear(slot)
            return
        checkpoint = slot.checkpoints[-1]
        try:
            self._context.state.set_sequence(checkpoint.state, slot.id, _PARTIAL)
        except StateError:
            self.clear(slot)
            return
        self._rolled_back.discard(slot.id)
        if self._forget_after(slot, checkpoint.n_tokens):
            slot.n_cached = checkpoint.n_tokens
        else:
            self.clear(slot)
