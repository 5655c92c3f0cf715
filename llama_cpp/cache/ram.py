"""A cache of states in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from .base import MISSING, BaseLlamaCache, TokenIndex, check_state, token_ids, usable_lengths
from .prefix_tree import Tokens
from .state import LlamaState


class LlamaRAMCache(BaseLlamaCache):
    """States in main memory; the one that was used longest ago goes first.

    Threads and models may share it.

    Args:
        capacity_bytes: How much the states may take together.
    """

    def __init__(self, capacity_bytes: int = 2 << 30) -> None:
        super().__init__(capacity_bytes)
        self._entries: OrderedDict[tuple[bytes, Tokens], tuple[LlamaState, int]] = OrderedDict()
        self._index: TokenIndex[tuple[bytes, Tokens]] = TokenIndex()
        self._size = 0
        self._lock = threading.RLock()

    @property
    def cache_size(self) -> int:
        """Bytes of all states."""
        self._await()
        return self._size

    @property
    def cache_state(self) -> OrderedDict[Tokens, LlamaState]:
        """A copy of what is there, by tokens, in order of use."""
        self._await()
        with self._lock:
            return OrderedDict((key, state) for (_, key), (state, _) in self._entries.items())

    def __getitem__(self, key: Sequence[int]) -> LlamaState:
        """Return the state that holds most of a beginning of ``key``; ``KeyError`` if none."""
        self._await()
        return self._used(self._index.find(token_ids(key), None))

    def find(
        self, key: Sequence[int], model: bytes, *, whole: bool = False, minimum: int = 1
    ) -> LlamaState:
        """Return the state of one model that holds most of a beginning of ``key``."""
        return self._used(self._index.find(token_ids(key), model, whole=whole, minimum=minimum))

    def _used(self, entry: tuple[bytes, Tokens] | None) -> LlamaState:
        with self._lock:
            if entry is None or entry not in self._entries:
                raise KeyError(MISSING)
            self._entries.move_to_end(entry)
            return self._entries[entry][0]

    def __contains__(self, key: Sequence[int]) -> bool:
        """Whether any state holds a beginning of ``key``."""
        self._await()
        return self._index.find(token_ids(key), None) is not None

    def holds(self, key: Sequence[int], model: bytes, *, whole: bool = False) -> bool:
        """Whether a state of this model with all of these tokens is there for sure."""
        tokens = token_ids(key)
        return self._index.find(tokens, model, whole=whole, minimum=len(tokens)) is not None

    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        """Keep a state; those used longest ago go where there is no room."""
        check_state(value)
        entry = (value.model, token_ids(key))
        with self._lock:
            self._drop(entry)
            self._entries[entry] = value, value.n_bytes
            self._index.add(entry[1], value.model, usable_lengths(entry[1], value), entry)
            self._size += value.n_bytes
            while self._size > self.capacity_bytes and self._entries:
                self._drop(next(iter(self._entries)))

    def _drop(self, entry: tuple[bytes, Tokens]) -> None:
        if entry in self._entries:
            state, size = self._entries.pop(entry)
            self._index.discard(entry[1], entry[0], usable_lengths(entry[1], state), entry)
            self._size -= size


class LlamaTrieCache(LlamaRAMCache):
    """The same: every cache in main memory finds its states in a tree of their tokens."""


LlamaCache = LlamaRAMCache
"""The name that scripts know it by."""
