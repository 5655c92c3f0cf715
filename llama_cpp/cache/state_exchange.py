"""``StateExchange``: what goes from the engine's slots to a cache of states, and back."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ..engine import Engine
from ..engine.adapter_spans import Spans
from ..engine.restored_state import RestoredState
from ..engine.slots import Checkpoint, Slot, shared_prefix
from ..errors import BusyError, ClosedError, StateError
from ..handles import Context
from .state import LlamaState

_LOGGER = logging.getLogger("llama_cpp")

_MIN_TOKENS_SAVED = 16
"""Fewer tokens than that are computed sooner than a state is found and copied."""
_TOKENS_COPIED_PER_COMPUTED = 32
"""So many tokens of a state are copied while one is computed, or more."""


class StateExchange:
    """Keeps what replies leave in the slots, after they were handed out, and finds it again.

    It holds no ``Llama``, so that one that is dropped is freed.

    Args:
        engine: Its slots are kept.
        context: Has their memory.
        fingerprint: Returns that of the model with the adapters of a text.
    """

    def __init__(
        self, engine: Engine, context: Context, fingerprint: Callable[[Spans], bytes]
    ) -> None:
        self._engine = engine
        self._context = context
        self._fingerprint = fingerprint
        self._seen = {slot.id: slot.last_used for slot in engine.slots}
        self._copies: deque[tuple[list[int], LlamaState]] = deque()
        self._lock = threading.Lock()
        self._put_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_whole = engine.sequences.saves_ends

    # From the slots to a cache.

    def save(self, cache: Any) -> None:
        """Begin to keep what replies left since the last time; nobody waits for that."""
        if not self._changed():
            return
        thread = threading.Thread(target=self._run, args=(cache,), name="llama-cache")
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends
            return
        self._thread = thread
        expect = getattr(cache, "expect", None)
        if expect is not None:
            expect(thread)

    def begin(self) -> None:
        """Know that a cache is there from now on: what was before is not for it."""
        self._seen = {slot.id: slot.last_used for slot in self._engine.slots}

    def finish(self, cache: Any) -> None:
        """Keep now what is still to be kept, unless the engine is busy."""
        if len(self._engine) == 0:
            self._settle(cache)
            thread = self._thread
            if thread is not None and thread is not threading.current_thread():
                thread.join()
            self._put(cache)

    def _settle(self, cache: Any) -> None:
        """Let nothing that waits to be kept be lost to the next prompt."""
        if not self._lock.locked() and not self._changed():
            return
        with suppress(BusyError, ClosedError):
            # The keeping thread may wait for the end of a step: a callback of it cannot wait.
            with self._engine.exclusive():
                pass
            self._collect(cache)

    def _run(self, cache: Any) -> None:
        self._collect(cache)
        self._put(cache)
        close = getattr(cache, "close", None)
        if close is not None:
            _guarded(close)

    def _collect(self, cache: Any) -> None:
        """Copy what replies left; this is all that the next prompt may have to wait for."""
        with self._lock:
            for slot, last_used, tokens in self._changed():
                self._seen[slot.id] = last_used
                _guarded(self._copy, cache, slot, tokens)

    def _put(self, cache: Any) -> None:
        with self._put_lock:
            while self._copies:
                tokens, state = self._copies[0]
                _guarded(cache.__setitem__, tokens, state)
                self._copies.popleft()  # and not before: a prompt may want it meanwhile

    def _changed(self) -> list[tuple[Slot, int, list[int]]]:
        """The slots that were used since they were last seen, and are free."""
        return [
            (slot, slot.last_used, slot.tokens[: slot.n_cached])
            for slot in self._engine.slots
            if slot.request is None and slot.last_used != self._seen[slot.id]
        ]

    def _copy(self, cache: Any, slot: Slot, tokens: list[int]) -> None:
        # What was shifted is not what a prompt would give, and an image may end in between.
        if not _MIN_TOKENS_SAVED <= len(tokens) <= slot.n_exact or slot.short_end[0] == len(tokens):
            return
        spans = slot.spans
        model = self._fingerprint(spans)
        holds = getattr(cache, "holds", None)
        if holds is not None and holds(tokens, model, whole=self._is_whole):
            return
        with self._engine.exclusive():
            is_used = slot.request is not None
            if is_used or (slot.tokens[: slot.n_cached], slot.spans) != (tokens, spans):
                return
            self._copies.append((tokens, state_of(self._context, slot, model)))

    # From a cache to the slots.

    def restore(self, cache: Any, prompt: Sequence[int], spans: Spans) -> None:
        """Let a prompt begin with a state from the cache, if that is worth it.

        Args:
            cache: Where to look.
            prompt: Token ids.
            spans: The adapters that they are computed with.
        """
        tokens = list(prompt)
        if len(self._engine.slots) == 1:
            self._settle(cache)
        if self._is_whole:
            self._engine.sequences.needs_checkpoints = True  # for the states that will be kept
        _guarded(self._restore, cache, tokens, spans)

    def _restore(self, cache: Any, prompt: list[int], spans: Spans) -> None:
        wanted = prompt[:-1]  # the last one is computed in any case: its logits are wanted
        sequences = self._engine.sequences
        held = max(sequences.reach(slot, slot.shared(wanted, spans)) for slot in self._engine.slots)
        if len(wanted) - held < _MIN_TOKENS_SAVED:
            return
        model = self._fingerprint(spans)
        states = [state for _, state in tuple(self._copies)]
        best = max((self._usable(state, wanted, model) for state in states), default=0)
        states += self._find(cache, wanted, model, max(best, held) + _MIN_TOKENS_SAVED)
        found = max(states, key=lambda state: self._usable(state, wanted, model), default=None)
        usable = self._usable(found, wanted, model) if found is not None else 0
        if found is not None and usable - held >= max(
            _MIN_TOKENS_SAVED, found.n_tokens // _TOKENS_COPIED_PER_COMPUTED
        ):
            self._engine.restored.add(
                prompt,
                spans,
                RestoredState(
                    found.input_ids[: found.n_tokens].tolist(), found.llama_state, usable,
                    [Checkpoint(*each) for each in _checkpoints(found)],
                ),
            )  # fmt: skip

    def _find(self, cache: Any, wanted: list[int], model: bytes, minimum: int) -> list[LlamaState]:
        find = getattr(cache, "find", None)
        try:
            if find is None:
                return [cache[wanted]]
            return [find(wanted, model, whole=self._is_whole, minimum=minimum)]
        except KeyError:
            return []

    def _usable(self, state: LlamaState, wanted: list[int], model: bytes) -> int:
        """How many tokens of a prompt a state saves."""
        ids = state.input_ids[: state.n_tokens].tolist()
        if getattr(state, "model", b"") not in (b"", model):
            return 0
        if len(ids) > self._engine.n_ctx:
            return 0
        shared = shared_prefix(ids, wanted)
        if not self._is_whole or shared == len(ids):
            return shared
        return max((n for n, _ in _checkpoints(state) if n <= shared), default=0)


def _checkpoints(state: LlamaState) -> tuple[tuple[int, bytes], ...]:
    # A cache of somebody else's may have states that were made by hand.
    checkpoints: tuple[tuple[int, bytes], ...] = getattr(state, "checkpoints", ())
    return checkpoints


def state_of(context: Context, slot: Slot, model: bytes) -> LlamaState:
    """Copy what a slot holds, without logits; nobody may step meanwhile."""
    import numpy as np

    tokens = slot.tokens[: slot.n_cached]
    memory = context.state.get_sequence(slot.id) if tokens else b""
    scores = np.zeros((0, context.model.n_vocab), np.single)
    return LlamaState(
        np.array(tokens, np.intc), scores, len(tokens), memory, len(memory), 0,
        model=model, checkpoints=tuple((n, state) for n, state in slot.checkpoints[-1:]),
    )  # fmt: skip


def _guarded(work: Callable[..., None], *arguments: Any) -> None:
    """Do what generation can do without; say so if it fails."""
    try:
        work(*arguments)
    except (BusyError, ClosedError):
        pass
    except Exception as error:
        kind = "" if isinstance(error, StateError) else f"{type(error).__name__}: "
        _LOGGER.warning("the cache of states was not used: %s%s", kind, error)
