"""``Candidates``: the tokens that samplers choose from, as ``llama_token_data_array``."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from .. import llama_cpp as raw
from ..errors import ClosedError, InvalidArgumentError
from ..validation import native_arguments as checks

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_ENTRY = [("id", "<i4"), ("logit", "<f4"), ("p", "<f4")]  # llama_token_data


class Candidates:
    """Token ids with logits and probabilities, on which samplers work in place.

    Args:
        logits: One logit per token id, shape (n_vocab,); converted to float32.

    Raises:
        InvalidArgumentError: There are none, or they have another shape.
    """

    _memory: npt.NDArray[np.void] | None
    _struct: raw.llama_token_data_array | None

    def __init__(self, logits: npt.ArrayLike) -> None:
        import numpy as np

        row = checks.floats(logits, "logits")
        if row.ndim != 1 or not row.size:
            raise InvalidArgumentError(f"logits must be one row of floats, not shape {row.shape}")
        memory = np.zeros(row.size, _ENTRY)
        memory["id"] = np.arange(row.size)
        memory["logit"] = row
        self._use(memory, -1, False)

    @classmethod
    def borrow(cls, pointer: Any) -> Candidates:
        """Look at an array that somebody else owns, who keeps it for as long as this lives."""
        borrowed = cls.__new__(cls)
        borrowed._memory = None
        borrowed._struct = pointer.contents
        return borrowed

    @classmethod
    def copy_of(cls, native: raw.llama_token_data_array) -> Candidates:
        """A copy for a callback, which may keep it, but to no effect: see ``finish``."""
        copied = cls.__new__(cls)
        copied._use(_entries(native).copy(), native.selected, native.sorted)
        return copied

    def finish(self, native: raw.llama_token_data_array | None) -> None:
        """Take the changes over into the array that this is a copy of, and end its use.

        Args:
            native: That array; None drops the changes.

        Raises:
            InvalidArgumentError: The engine would choke on the changes. They are dropped.
        """
        struct = self.struct
        self._struct = None
        if native is None:
            return
        if not 1 <= struct.size <= native.size:
            raise InvalidArgumentError(
                f"a sampler must leave 1 to {native.size} of {native.size} candidates, not "
                f"{struct.size}"
            )
        if not -1 <= struct.selected < struct.size:
            raise InvalidArgumentError(
                f"a sampler selected index {struct.selected} of {struct.size} candidates"
            )
        ours, theirs = _entries(struct), _entries(native)
        if ours["id"].min() < 0 or ours["id"].max() > theirs["id"].max():
            raise InvalidArgumentError("a sampler made up token ids that were not there before")
        theirs[: struct.size] = ours
        native.size, native.selected, native.sorted = struct.size, struct.selected, struct.sorted

    def _use(self, memory: npt.NDArray[np.void], selected: int, is_sorted: bool) -> None:
        data = ctypes.cast(memory.ctypes.data, ctypes.POINTER(raw.llama_token_data))
        self._memory = memory
        self._struct = raw.llama_token_data_array(data, memory.size, selected, is_sorted)

    @property
    def struct(self) -> raw.llama_token_data_array:
        """The native array.

        Raises:
            ClosedError: The callback that these candidates were for has returned.
        """
        if self._struct is None:
            raise ClosedError(
                "these candidates were lent to a callback that has returned: copy what is needed "
                "later, for example candidates.data.copy()"
            )
        return self._struct

    @property
    def data(self) -> npt.NDArray[np.void]:
        """The candidates left: a writable structured array with ``id``, ``logit`` and ``p``."""
        struct = self.struct
        memory = self._memory
        if memory is not None and memory.ctypes.data == _address(struct):
            return memory[: struct.size]  # which keeps the memory alive
        return _entries(struct)

    def __len__(self) -> int:
        return int(self.struct.size)

    def truncate(self, size: int) -> None:
        """Keep the first ``size`` candidates.

        Raises:
            InvalidArgumentError: None would be left, or more than there are.
        """
        checks.integer("size", size, 1, len(self))
        self.struct.size = size

    @property
    def is_sorted(self) -> bool:
        """Whether they are in the order of descending logits; reset it after a reordering."""
        return bool(self.struct.sorted)

    @is_sorted.setter
    def is_sorted(self, value: bool) -> None:
        self.struct.sorted = value

    @property
    def selected(self) -> int:
        """The index (not the token) that a sampler chose, or -1."""
        return int(self.struct.selected)

    @selected.setter
    def selected(self, index: int) -> None:
        self.struct.selected = checks.integer("selected", index, -1, len(self) - 1)

    @property
    def selected_token(self) -> int:
        """The token that a sampler chose.

        Raises:
            InvalidArgumentError: No sampler has chosen one.
        """
        if not 0 <= self.selected < len(self):
            raise InvalidArgumentError(
                "no token is selected: end the chain with greedy, dist, mirostat or adaptive_p"
            )
        return int(self.struct.data[self.selected].id)


def _address(struct: raw.llama_token_data_array) -> int:
    return ctypes.cast(struct.data, ctypes.c_void_p).value or 0


def _entries(struct: raw.llama_token_data_array) -> npt.NDArray[np.void]:
    import numpy as np

    entry: np.dtype[Any] = np.dtype(_ENTRY)
    memory = (ctypes.c_char * (struct.size * entry.itemsize)).from_address(_address(struct))
    entries: npt.NDArray[np.void] = np.frombuffer(memory, entry)  # type: ignore[call-overload]
    return entries
