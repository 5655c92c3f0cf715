"""What ``Llama`` does with states: saves them, loads them, and begins from those in a cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property

from ._llama_adapters import LlamaAdapters
from .cache.prompt_cache import Keeper, state_of
from .cache.state import read_file, write_file
from .engine.adapters import AdapterSet, Spans, spans_of
from .engine.slots import Checkpoint
from .errors import InvalidArgumentError, StateError
from .generation.manual_sequence import SequenceZero
from .llama_cache import BaseLlamaCache, LlamaState


class LlamaStates(LlamaAdapters):
    """The part of ``Llama`` that saves and finds again."""

    cache: BaseLlamaCache | None
    _zero: SequenceZero

    def save_state(self) -> LlamaState:
        """Copy what sequence 0 holds.

        Raises:
            BusyError: A completion uses the sequence.
        """
        sequence, slot = self._sequence, self._engine.slots[0]
        with sequence.held():
            state = state_of(self._ctx.handle, slot, self._fingerprints.of(slot.spans))
            state.scores = sequence.last_row()
        state.seed = self._seed
        return state

    def load_state(self, state: LlamaState) -> None:
        """Let sequence 0 hold what ``save_state`` copied.

        Args:
            state: Of this model, or of another ``Llama`` of the same file and parameters.

        Raises:
            StateError: It is damaged, or of another model; if only the engine notices that,
                sequence 0 is empty then.
            BusyError: A completion uses the sequence.
        """
        tokens, spans = self._checked_state(state)
        sequence = self._sequence
        with sequence.held():
            self._put(state, tokens, spans)

    def save_session(self, path: str | os.PathLike[str]) -> None:
        """Write what sequence 0 holds to a file, for ``load_session``, in another process too.

        A file that was there is replaced when the new one is complete, and not before.

        Args:
            path: Of the file.

        Raises:
            StateError: It cannot be written.
            BusyError: A completion uses the sequence.
        """
        write_file(path, self.save_state().to_bytes())

    def load_session(self, path: str | os.PathLike[str]) -> None:
        """Let sequence 0 hold what ``save_session`` wrote.

        Args:
            path: Of the file.

        Raises:
            StateError: The file is damaged, no session, or of another model: the sequence is as
                it was before.
            BusyError: A completion uses the sequence.
        """
        state = LlamaState.from_bytes(read_file(path))
        tokens, spans = self._checked_state(state)
        sequence, slot = self._sequence, self._engine.slots[0]
        with sequence.held():
            before, spans_before = state_of(self._ctx.handle, slot, b""), slot.spans
            before.scores = sequence.last_row()
            try:
                self._put(state, tokens, spans)
            except BaseException:
                self._put(before, before.input_ids.tolist(), spans_before)
                raise

    def _checked_state(self, state: LlamaState) -> tuple[list[int], Spans]:
        """Return the tokens of a state that is this model's, and the adapters they had."""
        if not isinstance(state, LlamaState):
            raise InvalidArgumentError(
                f"a state is what save_state returns, a LlamaState, not {type(state).__name__}"
            )
        tokens = [int(token) for token in state.input_ids[: state.n_tokens]]
        scores = state.scores
        default = spans_of(tokens, self._engine.adapters.default)
        known = [default, self._engine.slots[0].spans, *self._fingerprints.known]
        spans = next((s for s in known if state.model in (b"", self._fingerprints.of(s))), None)
        if (
            spans is None
            or len(tokens) > self.n_ctx()
            or any(token >= self._n_vocab for token in tokens)  # images and sounds are negative
            or (scores.size and scores.shape[-1] != self._n_vocab)
        ):
            raise StateError(
                "the state is of another model, or of a larger context: open the file that it was "
                "made with, with the same parameters and adapters, and "
                f"n_ctx={len(tokens)} at least"
            )
        return tokens, spans

    def _put(self, state: LlamaState, tokens: list[int], spans: Spans) -> None:
        """Let sequence 0, which is held, have a state."""
        self._zero.forget()
        if tokens:
            self._ctx.handle.state.set_sequence(state.llama_state, 0)
        self._zero.restore(tokens, state.scores)
        slot = self._engine.slots[0]
        slot.spans = spans
        slot.checkpoints = [Checkpoint(*each) for each in state.checkpoints]

    def set_cache(self, cache: BaseLlamaCache | None) -> None:
        """Let completions begin from states in a cache, and keep theirs in it.

        They are kept after a reply was handed out, so that it does not wait for that. What the
        last replies left is in the cache of before when this returns.

        Args:
            cache: ``LlamaRAMCache()``, ``LlamaDiskCache(folder)`` or the like; None removes it.

        Raises:
            InvalidArgumentError: It is something else.
        """
        methods = ("__getitem__", "__setitem__", "cache_size")
        if cache is not None and not all(hasattr(type(cache), name) for name in methods):
            raise InvalidArgumentError(
                f"cache={cache!r} must be a cache of states, such as LlamaRAMCache(), or None"
            )
        self._finish_keeping()
        self.cache = cache
        if cache is not None and not self._vocab_only:
            self._keeper.begin()

    def close(self) -> None:
        """Free the model. What runs on other threads ends with ``ClosedError``."""
        if "_zero" in self.__dict__:
            self._finish_keeping()
        super().close()

    def _finish_keeping(self) -> None:
        if self.cache is not None and not self._vocab_only:
            self._keeper.finish(self.cache)

    def _recall(self, prompt: Sequence[int], adapters: AdapterSet | None = None) -> None:
        """Let a prompt begin with what the cache holds of it, if that is more."""
        if self.cache is not None:
            chosen = self._engine.adapters.default if adapters is None else adapters
            self._keeper.recall(self.cache, prompt, spans_of(prompt, chosen))

    def _keep(self) -> None:
        """Put what replies have left into the cache, in time."""
        if self.cache is not None:
            self._keeper.keep(self.cache)

    @cached_property
    def _keeper(self) -> Keeper:
        return Keeper(self._engine, self._ctx.handle, self._fingerprints.of)

    @property
    def _sequence(self) -> SequenceZero:
        self._check_context()
        return self._zero
