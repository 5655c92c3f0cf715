"""Caches of a model's states by the tokens that led there."""

from __future__ import annotations

import abc
import threading
from array import array
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from .cache.prefix_tree import PrefixTree, Tokens
from .cache.state import LlamaState as LlamaState
from .errors import InvalidArgumentError, StateError
from .llama_types import *

Entry = TypeVar("Entry", bound=Hashable)

_PATIENCE = 1.0
_MISSING = "no state holds a beginning of these tokens"


class BaseLlamaCache(abc.ABC):
    """States by token ids: a key finds the state whose tokens it begins with most of.

    Args:
        capacity_bytes: How much the states may take together.
    """

    def __init__(self, capacity_bytes: int = 2 << 30) -> None:
        if isinstance(capacity_bytes, bool) or not isinstance(capacity_bytes, int):
            raise InvalidArgumentError(
                f"capacity_bytes={capacity_bytes!r} must be an integer, such as 2 << 30"
            )
        self.capacity_bytes = capacity_bytes

    @property
    @abc.abstractmethod
    def cache_size(self) -> int:
        """Bytes of all states."""

    @abc.abstractmethod
    def __getitem__(self, key: Sequence[int]) -> LlamaState:
        """Return the state that holds most of a beginning of ``key``; ``KeyError`` if none."""

    @abc.abstractmethod
    def __contains__(self, key: Sequence[int]) -> bool:
        """Whether any state holds a beginning of ``key``."""

    @abc.abstractmethod
    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        """Keep a state; those used longest ago go where there is no room."""

    def find(
        self, key: Sequence[int], model: bytes, *, whole: bool = False, minimum: int = 1
    ) -> LlamaState:
        """Return the state of one model that holds most of a beginning of ``key``.

        Args:
            key: The tokens.
            model: The fingerprint that the state must have, if it has one.
            whole: Whether all of the state, or of a checkpoint in it, must be that beginning.
            minimum: Fewer tokens than that are not worth it.

        Raises:
            KeyError: There is none.
        """
        state = self[key]
        if getattr(state, "model", b"") not in (b"", model):
            raise KeyError(_MISSING)
        return state

    def holds(self, key: Sequence[int], model: bytes, *, whole: bool = False) -> bool:
        """Whether a state of this model with all of these tokens is there for sure."""
        return False

    def expect(self, thread: threading.Thread) -> None:
        """Know that a thread is about to put a state in: whoever looks by hand waits for that."""
        self.__dict__.setdefault("_expected", set()).add(thread)

    def _await(self) -> None:
        for thread in tuple(self.__dict__.get("_expected", ())):
            if thread is not threading.current_thread():
                thread.join(_PATIENCE)
            if not thread.is_alive():
                self.__dict__["_expected"].discard(thread)


class LlamaRAMCache(BaseLlamaCache):
    """States in main memory; the one that was used longest ago goes first.

    Threads and models may share it.

    Args:
        capacity_bytes: How much the states may take together.
    """

    def __init__(self, capacity_bytes: int = 2 << 30) -> None:
        super().__init__(capacity_bytes)
        self._entries: OrderedDict[tuple[bytes, Tokens], tuple[LlamaState, int]] = OrderedDict()
        self._index: _Index[tuple[bytes, Tokens]] = _Index()
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
        return self._used(self._index.find(_ids(key), None))

    def find(
        self, key: Sequence[int], model: bytes, *, whole: bool = False, minimum: int = 1
    ) -> LlamaState:
        """Return the state of one model that holds most of a beginning of ``key``."""
        return self._used(self._index.find(_ids(key), model, whole=whole, minimum=minimum))

    def _used(self, entry: tuple[bytes, Tokens] | None) -> LlamaState:
        with self._lock:
            if entry is None or entry not in self._entries:
                raise KeyError(_MISSING)
            self._entries.move_to_end(entry)
            return self._entries[entry][0]

    def __contains__(self, key: Sequence[int]) -> bool:
        """Whether any state holds a beginning of ``key``."""
        self._await()
        return self._index.find(_ids(key), None) is not None

    def holds(self, key: Sequence[int], model: bytes, *, whole: bool = False) -> bool:
        """Whether a state of this model with all of these tokens is there for sure."""
        tokens = _ids(key)
        return self._index.find(tokens, model, whole=whole, minimum=len(tokens)) is not None

    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        """Keep a state; those used longest ago go where there is no room."""
        _check_state(value)
        entry = (value.model, _ids(key))
        with self._lock:
            self._drop(entry)
            self._entries[entry] = value, value.n_bytes
            self._index.add(entry[1], value.model, _ends(entry[1], value), entry)
            self._size += value.n_bytes
            while self._size > self.capacity_bytes and self._entries:
                self._drop(next(iter(self._entries)))

    def _drop(self, entry: tuple[bytes, Tokens]) -> None:
        if entry in self._entries:
            state, size = self._entries.pop(entry)
            self._index.discard(entry[1], entry[0], _ends(entry[1], state), entry)
            self._size -= size


class LlamaTrieCache(LlamaRAMCache):
    """The same: every cache in main memory finds its states in a tree of their tokens."""


LlamaCache = LlamaRAMCache
"""The name that scripts know it by."""


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
        from .cache.byte_store import open_cache

        self.cache: Any = open_cache(cache_dir, capacity_bytes)
        self._index: _Index[bytes] = _Index()
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
        from .cache.byte_store import read, usable

        tokens = _ids(key)
        with usable():
            while True:
                entry = self._entry(tokens, model, whole=whole, minimum=minimum)
                if entry is None:
                    raise KeyError(_MISSING)
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
        return self._entry(_ids(key), None) is not None

    def holds(self, key: Sequence[int], model: bytes, *, whole: bool = False) -> bool:
        """Whether a state of this model with all of these tokens is there for sure."""
        tokens = _ids(key)
        return self._entry(tokens, model, whole=whole, minimum=len(tokens)) is not None

    def _entry(
        self, tokens: Tokens, model: bytes | None, *, whole: bool = False, minimum: int = 1
    ) -> bytes | None:
        """Return the entry that holds most of a beginning and is still there."""
        from .cache.byte_store import usable

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
        from .cache.byte_store import Key, make_room, usable

        _check_state(value)
        tokens = _ids(key)
        entry = Key(value.model, tuple(_ends(tokens, value)), tokens).pack()
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
        from .cache.byte_store import keys_after

        with self._lock:
            self._last_row, keys = keys_after(self.cache, self._last_row)
            for entry in keys:
                self._learn(entry)

    def _learn(self, entry: bytes) -> None:
        from .cache.byte_store import Key

        with self._lock:
            if entry not in self._known:
                key = Key.unpack(entry)
                self._known.add(entry)
                self._index.add(key.tokens, key.model, key.ends, entry)

    def _forget(self, entry: bytes) -> None:
        from .cache.byte_store import Key

        with self._lock:
            if entry in self._known:
                key = Key.unpack(entry)
                self._known.discard(entry)
                self._index.discard(key.tokens, key.model, key.ends, entry)


class _Index(Generic[Entry]):
    """Entries of several models, by their tokens."""

    def __init__(self) -> None:
        self._trees: dict[bytes, PrefixTree[Entry]] = {}
        self._lock = threading.Lock()

    def add(self, tokens: Tokens, model: bytes, ends: Iterable[int], entry: Entry) -> None:
        """Put an entry in, at its end and at its checkpoints."""
        with self._lock:
            tree = self._trees.setdefault(model, PrefixTree())
            for end in ends:
                tree.add(tokens[:end], entry)

    def discard(self, tokens: Tokens, model: bytes, ends: Iterable[int], entry: Entry) -> None:
        """Take an entry out."""
        with self._lock:
            for end in ends:
                self._trees[model].discard(tokens[:end], entry)

    def find(
        self, tokens: Tokens, model: bytes | None, *, whole: bool = False, minimum: int = 1
    ) -> Entry | None:
        """Return the entry that holds most of a beginning, of any model if it is None."""
        with self._lock:
            trees = self._trees.values() if model is None else self._of(model)
            found = [tree.longest(tokens) if whole else tree.nearest(tokens) for tree in trees]
        best = max((each for each in found if each), key=lambda each: each[0], default=None)
        return best[1] if best is not None and best[0] >= minimum else None

    def _of(self, model: bytes) -> list[PrefixTree[Entry]]:
        # States that somebody made by hand are of no known model; loading checks them.
        return [self._trees[name] for name in {model, b""} if name in self._trees]


def _ids(key: Sequence[int]) -> Tokens:
    try:
        return tuple(array("i", key))
    except (TypeError, OverflowError):
        raise InvalidArgumentError(
            f"the key of a state is a sequence of token ids, not {type(key).__name__}"
        ) from None


def _ends(tokens: Tokens, state: LlamaState) -> list[int]:
    """After how many tokens a memory that cannot forget may go on from a state."""
    return [*(n for n, _ in state.checkpoints if 0 < n < len(tokens)), len(tokens)]


def _check_state(state: Any) -> None:
    if not isinstance(state, LlamaState):
        raise InvalidArgumentError(
            f"a cache holds what save_state returns, a LlamaState, not {type(state).__name__}"
        )
