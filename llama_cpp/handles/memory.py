"""``Memory``: the KV cells or recurrent states of a context, by sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import llama_cpp as raw
from ..errors import SequenceError
from ..validation import native_arguments as checks

if TYPE_CHECKING:
    from .context import Context


class Memory:
    """What a context remembers of its sequences. Models without memory (BERT) keep nothing.

    Positions are half-open ranges [p0, p1); a negative p0 means 0, a negative p1 the end.
    Every method raises ``SequenceError`` for a sequence that the context does not have, and
    ``ClosedError`` after the context is closed.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def clear(self, data: bool = True) -> None:
        """Forget every sequence; with ``data``, zero the buffers too."""
        self._call(raw.llama_memory_clear, data)

    def seq_rm(self, seq_id: int, p0: int = -1, p1: int = -1) -> bool:
        """Forget a range of a sequence, or of every sequence with -1.

        Returns:
            False if the memory cannot forget a part (recurrent models); nothing changed then.
        """
        self._check(seq_id, any_sequence=True)
        _check_range(p0, p1)
        if seq_id < 0 and p0 <= 0 and p1 < 0:
            self.clear(data=False)  # recurrent memories refuse to do it by seq_rm
            return True
        return bool(self._call(raw.llama_memory_seq_rm, seq_id, p0, p1))

    def seq_cp(self, source: int, target: int, p0: int = -1, p1: int = -1) -> None:
        """Let ``target`` share a range of ``source``.

        Raises:
            SequenceError: A part was asked for, and each sequence has cells of its own
                (``kv_unified`` is off): only whole sequences can be copied then.
        """
        self._check(source)
        self._check(target)
        _check_range(p0, p1)
        partial = p0 > 0 or 0 <= p1 <= self.seq_pos_max(source)
        if partial and source != target and not self._context.params.kv_unified:
            raise SequenceError(
                "a part of a sequence can be shared only in a context with kv_unified = True; "
                "copy the whole sequence (p0 = p1 = -1) and remove the rest"
            )
        if not partial:
            p0 = p1 = -1
        self._call(raw.llama_memory_seq_cp, source, target, p0, p1)

    def seq_keep(self, seq_id: int) -> None:
        """Forget every sequence but this one."""
        self._check(seq_id)
        self._call(raw.llama_memory_seq_keep, seq_id)

    def seq_add(self, seq_id: int, p0: int, p1: int, delta: int) -> None:
        """Shift the positions of a range by ``delta``.

        Raises:
            SequenceError: This memory cannot shift: ask ``can_shift`` first. Or a position would
                not fit into an int32.
        """
        self._check(seq_id)
        self._check_shift()
        _check_range(p0, p1)
        checks.integer("delta", delta, -checks.INT32_MAX, checks.INT32_MAX)
        if self.seq_pos_max(seq_id) + delta > checks.INT32_MAX:
            raise SequenceError(f"positions shifted by {delta} would not fit into an int32")
        self._call(raw.llama_memory_seq_add, seq_id, p0, p1, delta)

    def seq_div(self, seq_id: int, p0: int, p1: int, divisor: int) -> None:
        """Divide the positions of a range by ``divisor`` (>= 1), rounding down.

        Raises:
            SequenceError: This memory cannot shift: ask ``can_shift`` first.
            InvalidArgumentError: The divisor is not positive.
        """
        self._check(seq_id)
        self._check_shift()
        _check_range(p0, p1)
        checks.integer("divisor", divisor, 1, checks.INT32_MAX)
        self._call(raw.llama_memory_seq_div, seq_id, p0, p1, divisor)

    def seq_pos_min(self, seq_id: int) -> int:
        """The first position that is remembered, -1 if the sequence is empty."""
        self._check(seq_id)
        return int(self._call(raw.llama_memory_seq_pos_min, seq_id))

    def seq_pos_max(self, seq_id: int) -> int:
        """The last position that is remembered, -1 if the sequence is empty."""
        self._check(seq_id)
        return int(self._call(raw.llama_memory_seq_pos_max, seq_id))

    @property
    def can_shift(self) -> bool:
        """Whether ``seq_add`` and ``seq_div`` work on this memory."""
        return bool(self._call(raw.llama_memory_can_shift))

    def _check(self, seq_id: int, any_sequence: bool = False) -> None:
        checks.sequence_id(seq_id, self._context.n_seq_max, any_sequence=any_sequence)

    def _check_shift(self) -> None:
        if not self.can_shift:
            raise SequenceError(
                "the positions of this memory cannot be shifted (the model's position encoding "
                "does not allow it): recompute the sequence instead"
            )

    def _call(self, function: Any, *arguments: Any) -> Any:
        return self._context.call(lambda ctx: function(raw.llama_get_memory(ctx), *arguments))


def _check_range(p0: int, p1: int) -> None:
    for name, position in (("p0", p0), ("p1", p1)):
        checks.integer(name, position, -checks.INT32_MAX, checks.INT32_MAX)
