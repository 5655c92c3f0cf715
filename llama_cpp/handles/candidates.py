"""``Candidates``: the tokens that samplers choose from, as ``llama_token_data_array``."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError

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

    def __init__(self, logits: npt.ArrayLike) -> None:
        import numpy as np

        row = np.asarray(logits, np.float32)
        if row.ndim != 1 or not row.size:
            raise InvalidArgumentError(f"logits must be one row of floats, not shape {row.shape}")
        self._memory = np.zeros(row.size, _ENTRY)
        self._memory["id"] = np.arange(row.size)
        self._memory["logit"] = row
        data = ctypes.cast(self._memory.ctypes.data, ctypes.POINTER(raw.llama_token_data))
        self.struct = raw.llama_token_data_array(data, row.size, -1, False)

    @classmethod
    def borrow(cls, pointer: Any) -> Candidates:
        """Look at an array that native code owns, for the time of a callback."""
        borrowed = cls.__new__(cls)
        borrowed.struct = pointer.contents
        return borrowed

    @property
    def data(self) -> npt.NDArray[np.void]:
        """The candidates left: a writable structured array with ``id``, ``logit`` and ``p``."""
        import numpy as np

        size = self.struct.size
        address = ctypes.cast(self.struct.data, ctypes.c_void_p).value
        memory = (ctypes.c_char * (size * np.dtype(_ENTRY).itemsize)).from_address(address or 0)
        view: npt.NDArray[np.void] = np.frombuffer(memory, np.dtype(_ENTRY), count=size)  # type: ignore[call-overload]
        return view

    def __len__(self) -> int:
        return int(self.struct.size)

    def truncate(self, size: int) -> None:
        """Keep the first ``size`` candidates.

        Raises:
            InvalidArgumentError: None would be left, or more than there are.
        """
        if not 1 <= size <= len(self):
            raise InvalidArgumentError(f"cannot keep {size} of {len(self)} candidates")
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
        if not -1 <= index < len(self):
            raise InvalidArgumentError(f"index {index} is not one of {len(self)} candidates")
        self.struct.selected = index

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
