"""``States``: what sequence 0 holds, as an object and as a file."""

from __future__ import annotations

import os

from ..cache.fingerprint import Fingerprints
from ..cache.state import LlamaState, read_file, write_file
from ..cache.state_exchange import state_of
from ..engine import Engine
from ..engine.adapter_spans import Spans, spans_of
from ..engine.slots import Checkpoint
from ..errors import InvalidArgumentError, StateError
from ..sampling.defaults import SamplingDefaults
from .manual_sequence import ManualSequence


class States:
    """Saves and loads what sequence 0 holds.

    Args:
        engine: Its slot 0 is the sequence.
        sequence: The sequence.
        fingerprints: Tell the states of one model from those of another.
        defaults: Their seed goes into states.
    """

    def __init__(
        self,
        engine: Engine,
        sequence: ManualSequence,
        fingerprints: Fingerprints,
        defaults: SamplingDefaults,
    ) -> None:
        self._engine = engine
        self._context = engine.context
        self._sequence = sequence
        self._fingerprints = fingerprints
        self._defaults = defaults

    def save(self) -> LlamaState:
        """Copy what sequence 0 holds; see ``Llama.save_state``."""
        sequence, slot = self._sequence, self._engine.slots[0]
        with sequence.held():
            state = state_of(self._context, slot, self._fingerprints.of(slot.spans))
            state.scores = sequence.last_row()
        state.seed = self._defaults.seed
        return state

    def load(self, state: LlamaState) -> None:
        """Let sequence 0 hold what ``save_state`` copied; see ``Llama.load_state``."""
        tokens, spans = self._checked_state(state)
        sequence = self._sequence
        with sequence.held():
            self._put(state, tokens, spans)

    def save_file(self, path: str | os.PathLike[str]) -> None:
        """Write what sequence 0 holds to a file; see ``Llama.save_session``."""
        write_file(path, self.save().to_bytes())

    def load_file(self, path: str | os.PathLike[str]) -> None:
        """Let sequence 0 hold what ``save_session`` wrote; see ``Llama.load_session``."""
        state = LlamaState.from_bytes(read_file(path))
        tokens, spans = self._checked_state(state)
        sequence, slot = self._sequence, self._engine.slots[0]
        with sequence.held():
            before, spans_before = state_of(self._context, slot, b""), slot.spans
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
            or len(tokens) > self._engine.n_ctx
            or any(
                token >= self._context.model.n_vocab for token in tokens
            )  # images and sounds are negative
            or (scores.size and scores.shape[-1] != self._context.model.n_vocab)
        ):
            raise StateError(
                "the state is of another model, or of a larger context: open the file that it was "
                "made with, with the same parameters and adapters, and "
                f"n_ctx={len(tokens)} at least"
            )
        return tokens, spans

    def _put(self, state: LlamaState, tokens: list[int], spans: Spans) -> None:
        """Let sequence 0, which is held, have a state."""
        self._sequence.forget()
        if tokens:
            self._context.state.set_sequence(state.llama_state, 0)
        self._sequence.restore(tokens, state.scores)
        slot = self._engine.slots[0]
        slot.spans = spans
        slot.checkpoints = [Checkpoint(*each) for each in state.checkpoints]
