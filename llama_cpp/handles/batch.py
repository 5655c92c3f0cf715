"""``Batch``: tokens or embeddings on their way into ``Context.decode``."""

from __future__ import annotations

import ctypes
import operator
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .. import llama_cpp as raw
from ..errors import BatchError, SequenceError
from ..validation import native_arguments as checks

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Batch:
    """Arrays for up to ``n_tokens`` entries, and the ``llama_batch`` that points into them.

    The memory is numpy's, so whole sequences are written at once; nothing has to be freed.

    Args:
        n_tokens: Capacity in entries.
        n_seq_max: Sequences that one entry may belong to.
        embd: 0 for token ids; the width of one embedding (float32) for embeddings.
        state: The width of a hidden state (float32) that goes with each token id, in ``states``:
            contexts for multi-token prediction want it.

    Raises:
        BatchError: A capacity is not positive, or a batch of embeddings is to have states.
    """

    def __init__(self, n_tokens: int, n_seq_max: int = 1, embd: int = 0, state: int = 0) -> None:
        import numpy as np

        if n_tokens < 1 or n_seq_max < 1 or embd < 0 or state < 0 or (embd and state):
            raise BatchError(
                f"a batch needs n_tokens >= 1, n_seq_max >= 1 and embd or state >= 0, got "
                f"{n_tokens}, {n_seq_max}, {embd} and {state}"
            )
        self.capacity = n_tokens
        self.n_seq_max = n_seq_max
        self.embd_width, self.state_width = embd, state
        self.tokens: npt.NDArray[np.int32] = np.zeros(0 if embd else n_tokens, np.int32)
        self.embd: npt.NDArray[np.float32] = np.zeros((n_tokens if embd else 0, embd), np.float32)
        self.states: npt.NDArray[np.float32] = np.zeros(
            (n_tokens if state else 0, state), np.float32
        )
        self._positions: npt.NDArray[np.int32] = np.zeros(n_tokens, np.int32)
        self._n_seq_ids: npt.NDArray[np.int32] = np.ones(n_tokens, np.int32)
        self._seq_ids: npt.NDArray[np.int32] = np.zeros((n_tokens, n_seq_max), np.int32)
        # To look at: the engine would follow a wrong number in these out of the arrays.
        self.positions = _read_only(self._positions)
        self.n_seq_ids = _read_only(self._n_seq_ids)
        self.seq_ids = _read_only(self._seq_ids)
        self.outputs: npt.NDArray[np.int8] = np.zeros(n_tokens, np.int8)
        row_bytes = self._seq_ids.strides[0]
        self._seq_id_rows = self._seq_ids.ctypes.data + row_bytes * np.arange(n_tokens + 1)
        # For `fill`: a view takes an array of its own kind in a fraction of numpy's time.
        columns: list[Any] = [self.tokens, self._positions, self._seq_ids[:, 0], self.outputs]
        self._views = [memoryview(column) for column in columns]
        self._seq_id_rows[n_tokens] = 0  # NULL ends the list, as llama_batch_init has it
        self.struct: raw.llama_batch = raw.llama_batch(
            0,
            None if embd else _pointer(self.tokens, ctypes.c_int32),
            _pointer(self.embd if embd else self.states, ctypes.c_float) if embd or state else None,
            _pointer(self._positions, ctypes.c_int32),
            _pointer(self._n_seq_ids, ctypes.c_int32),
            _pointer(self._seq_id_rows, ctypes.POINTER(ctypes.c_int32)),
            _pointer(self.outputs, ctypes.c_int8),
        )

    @property
    def n_tokens(self) -> int:
        """Entries in the batch."""
        return self.struct.n_tokens

    def __len__(self) -> int:
        return self.struct.n_tokens

    def clear(self) -> None:
        """Empty the batch."""
        self.struct.n_tokens = 0

    def fill(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        seq_ids: Sequence[int],
        outputs: Sequence[bool],
    ) -> None:
        """Replace all entries, each of one sequence; for many sequences this is the fastest way.

        Args:
            tokens: Their ids.
            positions: As many positions.
            seq_ids: As many sequences.
            outputs: As many times whether an output is wanted.

        Raises:
            BatchError: They do not fit, differ in length, or the batch holds embeddings.
            SequenceError: A sequence id or position is negative or does not fit into an int32.
            TokenError: An id does not fit into an int32.
        """
        if self.embd_width:
            raise BatchError("this batch was created for embeddings: use add_embeddings")
        count = len(tokens)
        if not len(positions) == len(seq_ids) == len(outputs) == count:
            raise BatchError(
                f"{count} tokens need as many positions, sequence ids and outputs, not "
                f"{len(positions)}, {len(seq_ids)} and {len(outputs)}"
            )
        self.clear()
        self._room_for(count)
        columns = (
            checks.token_array(tokens, checks.INT32_MAX),
            _not_negative(positions, "positions"),
            _not_negative(seq_ids, "sequence ids"),
            array("b", map(bool, outputs)),
        )
        for view, column in zip(self._views, columns, strict=True):
            view[:count] = column
        if self.n_seq_max > 1:
            self._n_seq_ids[:count] = 1
        self.struct.n_tokens = count

    def add(self, token: int, pos: int, seq_ids: Sequence[int] = (0,), output: bool = False) -> int:
        """Append one token.

        Args:
            token: Its id.
            pos: Its position in the sequence.
            seq_ids: The sequences that it belongs to.
            output: Whether logits or embeddings are wanted for it.

        Returns:
            Its index, by which ``Context`` hands out the logits.

        Raises:
            BatchError: The batch is full or holds embeddings.
            SequenceError: No sequence, more than ``n_seq_max``, or a negative id or position.
            TokenError: The id is negative or does not fit into an int32.
        """
        if self.embd_width:
            raise BatchError("this batch was created for embeddings: use add_embeddings")
        index = self._room_for(1)
        self._check_sequences(seq_ids, pos)
        self.tokens[index] = checks.token_id(token, checks.INT32_MAX)
        self._positions[index] = pos
        self._n_seq_ids[index] = len(seq_ids)
        self._seq_ids[index, : len(seq_ids)] = seq_ids
        self.outputs[index] = output
        self.struct.n_tokens = index + 1
        return index

    def add_sequence(
        self,
        tokens: Iterable[int],
        pos: int = 0,
        seq_id: int = 0,
        *,
        output_last: bool = True,
        output_all: bool = False,
    ) -> int:
        """Append consecutive tokens of one sequence.

        Args:
            tokens: Their ids.
            pos: The position of the first one.
            seq_id: The sequence.
            output_last: Whether an output is wanted for the last one.
            output_all: Whether an output is wanted for each.

        Returns:
            The index of the first one.

        Raises:
            BatchError: They do not fit, or the batch holds embeddings.
            SequenceError: A negative sequence id or position.
            TokenError: An id does not fit into an int32.
        """
        if self.embd_width:
            raise BatchError("this batch was created for embeddings: use add_embeddings")
        ids = checks.token_array(tokens, checks.INT32_MAX)
        if not ids:
            return self.n_tokens
        first, end = self._append(len(ids), pos, seq_id, output_last, output_all)
        self.tokens[first:end] = ids
        return first

    def add_embeddings(
        self,
        embeddings: npt.ArrayLike,
        pos: int = 0,
        seq_id: int = 0,
        *,
        output_last: bool = True,
        output_all: bool = False,
    ) -> int:
        """Append consecutive embeddings of one sequence.

        Args:
            embeddings: Shape (n, embd), float32.
            pos: The position of the first one.
            seq_id: The sequence.
            output_last: Whether an output is wanted for the last one.
            output_all: Whether an output is wanted for each.

        Returns:
            The index of the first one.

        Raises:
            BatchError: They do not fit or have another width, or the batch holds tokens.
            InvalidArgumentError: They are not finite numbers.
            SequenceError: A negative sequence id or position.
        """
        rows = checks.finite_floats(embeddings, "embeddings")
        if not self.embd_width or rows.ndim != 2 or rows.shape[1] != self.embd_width:
            raise BatchError(
                f"embeddings of shape {rows.shape} do not fit a batch of embd={self.embd_width}"
            )
        if not len(rows):
            return self.n_tokens
        first, end = self._append(len(rows), pos, seq_id, output_last, output_all)
        self.embd[first:end] = rows
        return first

    def _append(
        self, count: int, pos: int, seq_id: int, output_last: bool, output_all: bool
    ) -> tuple[int, int]:
        first = self._room_for(count)
        self._check_sequences((seq_id,), pos)
        if pos + count > checks.INT32_MAX:
            raise SequenceError(f"positions from {pos} on do not fit into an int32")
        end = first + count
        self._positions[first:end] = range(pos, pos + count)
        self._n_seq_ids[first:end] = 1
        self._seq_ids[first:end, 0] = seq_id
        self.outputs[first:end] = output_all
        if output_last:
            self.outputs[end - 1] = 1
        self.struct.n_tokens = end
        return first, end

    def _room_for(self, count: int) -> int:
        index = self.struct.n_tokens
        if index + count > self.capacity:
            raise BatchError(
                f"{count} more entries do not fit: the batch holds {index} of at most "
                f"{self.capacity}. Decode it and clear() it first, or create a larger one."
            )
        return index

    def _check_sequences(self, seq_ids: Sequence[int], pos: int) -> None:
        if not 1 <= len(seq_ids) <= self.n_seq_max:
            raise SequenceError(
                f"an entry of this batch belongs to 1 to {self.n_seq_max} sequences, not to "
                f"{len(seq_ids)}: create the batch with a larger n_seq_max"
            )
        try:
            numbers = [operator.index(number) for number in (pos, *seq_ids)]
        except TypeError:
            raise SequenceError(
                f"sequence ids {list(seq_ids)} and position {pos!r} must be integers"
            ) from None
        if min(numbers) < 0 or max(numbers) > checks.INT32_MAX:
            raise SequenceError(
                f"sequence ids {list(seq_ids)} and position {pos} must be non-negative int32"
            )


def _not_negative(numbers: Sequence[int], what: str) -> array[int]:
    try:
        converted = array("i", numbers)
    except (TypeError, OverflowError):
        converted = array("i", (-1,))
    if converted and min(converted) < 0:
        raise SequenceError(f"{what} must be non-negative int32")
    return converted


def _read_only(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    view: npt.NDArray[np.int32] = values.view()
    view.flags.writeable = False
    return view


def _pointer(values: Any, c_type: Any) -> Any:
    return ctypes.cast(values.ctypes.data, ctypes.POINTER(c_type))
