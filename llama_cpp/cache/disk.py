"""A cache of states on disk, which processes share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ..errors import StateError
from .base import MISSING, BaseLlamaCache, TokenIndex, check_state, token_ids, usable_lengths
from .prefix_tree import Tokens
from .state import LlamaState


class LlamaDiskCache(BaseLlamaCache):
    """States in a folder, which several processes and models may share.

    Only bytes are stored, with their checksum: nothing that is read is ever unpickled, and what
    is damaged is dropped.

    Args:
        cache_dir: The folder, made readable for its owner only.
        capacity_bytes: How much the states may take together.

    Raises:
        StateError: The folder cannot be made, or not be written to.
    """

    def __init__(
        self, cache_dir: str = ".cache/llama_cache", capacity_bytes: int = 2 << 30
    ) -> None:
        super().__init__(capacity_bytes)
        from .byte_store import open_cache

        self.cache: Any = open_cache(cache_dir, self.capacity_bytes)
        self._index: TokenIndex[bytes] = TokenIndex()
        self._known: set[bytes] = set()
        self._last_row: Any = None
        self._lock = threading.RLock()

    @property
    def cache_size(self) -> int:
        """Bytes of all states."""
        self._await()
        return int(self.cache.volume())

    def __getitem__(self, key: Sequence[int]) -> LlamaState:
        """Return the state that holds most of a beginning of ``key``; ``KeyError`` if none."""
        self._await()
        return self._find(key, None, whole=False, minimum=1)

    def find(
        self, key: Sequence[int], model: bytes, *, whole: bool = False, minimum: int = 1
    ) -> LlamaState:
        """Return the state of one model that holds most of a beginning of ``key``."""
        return self._find(key, model, whole=whole, minimum=minimum)

    def _find(
        self, key: Sequence[int], model: bytes | None, *, whole: bool, minimum: int
    ) -> LlamaState:
        from .byte_store import read, usable

        tokens = token_ids(key)
        with usable():
            while True:
                entry = self._entry(tokens, model, whole=whole, minimum=minimum)
                if entry is None:
                    raise KeyError(MISSING)
                data = read(self.cache, entry)
                if data is not None:
                    try:
                        return LlamaState.from_bytes(data)
                    except StateError:
                        self.cache.delete(entry)
                self._forget(entry)

    def __contains__(self, key: Sequence[int]) -> bool:
        """Whether any state holds a beginning of ``key``."""
        self._await()
        return self._entry(token_ids(key), None) is not None

    def holds(self, key: Sequence[int], model: bytes, *, whole: bool = False) -> bool:
        """Whether a state of this model with all of these tokens is there for sure."""
        tokens = token_ids(key)
        return self._entry(tokens, model, whole=whole, minimum=len(tokens)) is not None

    def _entry(
        self, tokens: Tokens, model: bytes | None, *, whole: bool = False, minimum: int = 1
    ) -> bytes | None:
        """Return the entry that holds most of a beginning and is still there."""
        from .byte_store import usable

        with usable():
            self._refresh()
            while True:
                entry = self._index.find(tokens, model, whole=whole, minimum=minimum)
                if entry is None or entry in self.cache:
                    return entry
                self._forget(entry)

    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        """Keep a state; those used longest ago go where there is no room.

        Raises:
            StateError: The folder is full or cannot be written to.
        """
        from .byte_store import Key, make_room, usable

        check_state(value)
        tokens = token_ids(key)
        entry = Key(value.model, tuple(usable_lengths(tokens, value)), tokens).pack()
        with usable():
            self.cache.set(entry, value.to_bytes())
            dropped = make_room(self.cache)
            self._learn(entry)
            for each in dropped:
                self._forget(each)

    def close(self) -> None:
        """Let go of what the calling thread has opened; it is opened anew when it is needed."""
        self.cache.close()

    def _refresh(self) -> None:
        """Know the entries that other processes have made."""
        from .byte_store import keys_after

        with self._lock:
            self._last_row, keys = keys_after(self.cache, self._last_row)
            for entry in keys:
                self._learn(entry)

    def _learn(self, entry: bytes) -> None:
        from .byte_store import Key

        with self._lock:
            if entry not in self._known:
                key = Key.unpack(entry)
                self._known.add(entry)
                self._index.add(key.tokens, key.model, key.ends, entry)

    def _forget(self, entry: bytes) -> None:
        from .byte_store import Key

        with self._lock:
            if entry in self._known:
                key = Key.unpack(entry)
                self._known.discard(entry)
                self._index.discard(key.tokens, key.model, key.ends, entry)
