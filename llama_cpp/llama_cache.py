"""States of a model, and caches of them by the tokens that led there."""

from __future__ import annotations

import abc
import struct
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .engine.slots import shared_prefix
from .errors import StateError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "BaseLlamaCache",
    "LlamaCache",
    "LlamaDiskCache",
    "LlamaRAMCache",
    "LlamaState",
]

_HEADER = struct.Struct("<8sIIq")
_MAGIC = b"llmstat1"


class LlamaState:
    """What sequence 0 of a model held: its tokens, the memory of them, the last logits.

    Args:
        input_ids: The tokens: int32, shape (n_tokens,).
        scores: The logits after the last token: float32, shape (1, n_vocab), or (0, n_vocab).
        n_tokens: How many tokens.
        llama_state: The used cells of the memory, as the engine writes them.
        llama_state_size: Bytes of that.
        seed: What the seeds of calls without one follow from.
    """

    def __init__(
        self,
        input_ids: npt.NDArray[np.intc],
        scores: npt.NDArray[np.single],
        n_tokens: int,
        llama_state: bytes,
        llama_state_size: int,
        seed: int,
    ) -> None:
        self.input_ids = input_ids
        self.scores = scores
        self.n_tokens = n_tokens
        self.llama_state = llama_state
        self.llama_state_size = llama_state_size
        self.seed = seed

    def to_bytes(self) -> bytes:
        """Write the state; ``from_bytes`` reads it, and runs nothing that stands in it."""
        n_scores = int(self.scores.shape[-1]) if self.scores.size else 0
        head = _HEADER.pack(_MAGIC, self.n_tokens, n_scores, self.seed)
        ids = self.input_ids[: self.n_tokens].astype("<i4").tobytes()
        scores = self.scores[-1:].astype("<f4").tobytes() if n_scores else b""
        return head + ids + scores + self.llama_state

    @classmethod
    def from_bytes(cls, data: bytes) -> LlamaState:
        """Read what ``to_bytes`` wrote.

        Raises:
            StateError: It is something else, or cut off.
        """
        import numpy as np

        if len(data) < _HEADER.size or not data.startswith(_MAGIC):
            raise StateError("these bytes are no state that LlamaState.to_bytes wrote")
        _, n_tokens, n_scores, seed = _HEADER.unpack_from(data)
        middle = _HEADER.size + 4 * n_tokens
        end = middle + 4 * n_scores
        if len(data) < end:
            raise StateError("the state is cut off")
        ids = np.frombuffer(data[_HEADER.size : middle], "<i4").astype(np.intc)
        scores = np.frombuffer(data[middle:end], "<f4").reshape(-1, max(n_scores, 1))
        memory = data[end:]
        return cls(ids, scores.astype(np.single), n_tokens, memory, len(memory), seed)


class BaseLlamaCache(abc.ABC):
    """States by token ids: a key finds the state whose tokens it begins with most of.

    Args:
        capacity_bytes: How much the states may take together.
    """

    def __init__(self, capacity_bytes: int = 2 << 30) -> None:
        self.capacity_bytes = capacity_bytes

    @property
    @abc.abstractmethod
    def cache_size(self) -> int:
        """Bytes of all states."""

    @abc.abstractmethod
    def _keys(self) -> Sequence[tuple[int, ...]]: ...

    @abc.abstractmethod
    def __getitem__(self, key: Sequence[int]) -> LlamaState:
        """Return the state that holds most of a beginning of ``key``; ``KeyError`` if none."""

    @abc.abstractmethod
    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        """Keep a state; the oldest ones go where there is no room."""

    def __contains__(self, key: Sequence[int]) -> bool:
        """Whether any state holds a beginning of ``key``."""
        return self._nearest(tuple(key)) is not None

    def _nearest(self, key: tuple[int, ...]) -> tuple[int, ...] | None:
        best = max(self._keys(), key=lambda each: shared_prefix(each, key), default=None)
        return best if best is not None and shared_prefix(best, key) else None


class LlamaRAMCache(BaseLlamaCache):
    """States in main memory; the one that was used longest ago goes first.

    Args:
        capacity_bytes: How much the states may take together.
    """

    def __init__(self, capacity_bytes: int = 2 << 30) -> None:
        super().__init__(capacity_bytes)
        self.cache_state: OrderedDict[tuple[int, ...], LlamaState] = OrderedDict()

    @property
    def cache_size(self) -> int:
        """Bytes of all states."""
        return sum(state.llama_state_size for state in self.cache_state.values())

    def _keys(self) -> Sequence[tuple[int, ...]]:
        return list(self.cache_state)

    def __getitem__(self, key: Sequence[int]) -> LlamaState:
        """Return the state that holds most of a beginning of ``key``."""
        nearest = self._nearest(tuple(key))
        if nearest is None:
            raise KeyError("no state holds a beginning of these tokens")
        self.cache_state.move_to_end(nearest)
        return self.cache_state[nearest]

    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        """Keep a state; the oldest ones go where there is no room."""
        self.cache_state[tuple(key)] = value
        self.cache_state.move_to_end(tuple(key))
        while self.cache_size > self.capacity_bytes and self.cache_state:
            self.cache_state.popitem(last=False)


LlamaCache = LlamaRAMCache
"""The name that scripts know it by."""


class LlamaDiskCache(BaseLlamaCache):
    """States in a folder, which several processes may share.

    Only bytes are stored: nothing that is read is ever unpickled.

    Args:
        cache_dir: The folder, made readable for its owner only.
        capacity_bytes: How much the states may take together.
    """

    def __init__(
        self, cache_dir: str = ".cache/llama_cache", capacity_bytes: int = 2 << 30
    ) -> None:
        super().__init__(capacity_bytes)
        import os

        from ._disk import BytesDisk, open_cache

        os.makedirs(cache_dir, mode=0o700, exist_ok=True)
        self.cache: Any = open_cache(cache_dir, capacity_bytes, BytesDisk)

    @property
    def cache_size(self) -> int:
        """Bytes of all states."""
        return int(self.cache.volume())

    def _keys(self) -> Sequence[tuple[int, ...]]:
        return [_tokens(key) for key in self.cache.iterkeys()]

    def __getitem__(self, key: Sequence[int]) -> LlamaState:
        """Return the state that holds most of a beginning of ``key``."""
        nearest = self._nearest(tuple(key))
        data = None if nearest is None else self.cache.get(_packed(nearest))
        if data is None:
            raise KeyError("no state holds a beginning of these tokens")
        return LlamaState.from_bytes(data)

    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        """Keep a state; the oldest ones go where there is no room."""
        from ._disk import make_room

        self.cache.set(_packed(key), value.to_bytes())
        make_room(self.cache)


def _packed(tokens: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(tokens)}i", *tokens)


def _tokens(key: bytes) -> tuple[int, ...]:
    if len(key) % 4:
        from ._disk import foreign_entries

        raise foreign_entries()
    return struct.unpack(f"<{len(key) // 4}i", key)
