"""What caches of states have in common: their interface, and finding states by tokens."""

from __future__ import annotations

import abc
import threading
from array import array
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from ..errors import InvalidArgumentError
from ..validation.numbers import plain
from .prefix_tree import PrefixTree, Tokens
from .state import LlamaState

Entry = TypeVar("Entry", bound=Hashable)

_PATIENCE_SECONDS = 1.0
MISSING = "no state holds a beginning of these tokens"


class BaseLlamaCache(abc.ABC):
    """States by token ids: a key finds the state whose tokens it begins with most of.

    Args:
        capacity_bytes: How much the states may take together.
    """

    def __init__(self, capacity_bytes: int = 2 << 30) -> None:
        own = plain(capacity_bytes)
        if isinstance(own, bool) or not isinstance(own, int):
            raise InvalidArgumentError(
                f"capacity_bytes={capacity_bytes!r} must be an integer, such as 2 << 30"
            )
        self.capacity_bytes = own

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
            raise KeyError(MISSING)
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
                thread.join(_PATIENCE_SECONDS)
            if not thread.is_alive():
                self.__dict__["_expected"].discard(thread)


class TokenIndex(Generic[Entry]):
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


def token_ids(key: Sequence[int]) -> Tokens:
    """The tokens of a key, as the tree takes them."""
    try:
        return tuple(array("i", key))
    except (TypeError, OverflowError):
        raise InvalidArgumentError(
            f"the key of a state is a sequence of token ids, not {type(key).__name__}"
        ) from None


def usable_lengths(tokens: Tokens, state: LlamaState) -> list[int]:
    """After how many tokens a memory that cannot forget may go on from a state."""
    return [*(n for n, _ in state.checkpoints if 0 < n < len(tokens)), len(tokens)]


def check_state(state: Any) -> None:
    """Refuse what is no state.

    Raises:
        InvalidArgumentError: It is something else.
    """
    if not isinstance(state, LlamaState):
        raise InvalidArgumentError(
            f"a cache holds what save_state returns, a LlamaState, not {type(state).__name__}"
        )
