"""What ``Llama`` offers token by token: sequence 0, its states and caches of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator as GeneratorType
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ._cache_keeper import Keeper, state_of
from ._fingerprint import fingerprint_of
from ._llama_core import LlamaCore
from ._llama_state import read_file, write_file
from ._sequence_zero import SequenceZero
from .engine.slots import Checkpoint
from .errors import InvalidArgumentError, StateError
from .handles import samplers
from .handles.token_sampler import TokenSampler
from .llama_cache import BaseLlamaCache, LlamaState
from .llama_grammar import LlamaGrammar
from .sampling.chain import token_sampler
from .sampling.logits import StoppingCriteriaList
from .sampling.options import sampling_params

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class LlamaSequence(LlamaCore):
    """The part of ``Llama`` that computes single tokens."""

    cache: BaseLlamaCache | None
    last_n_tokens_size: int
    lora_path: str | None
    lora_scale: float
    _zero: SequenceZero
    _sampler: TokenSampler | None

    @property
    def n_tokens(self) -> int:
        """How many tokens sequence 0 holds; assigning fewer forgets its end."""
        return self._sequence.n_tokens

    @n_tokens.setter
    def n_tokens(self, count: int) -> None:
        self._sequence.n_tokens = count

    @property
    def input_ids(self) -> npt.NDArray[np.intc]:
        """The tokens of sequence 0: int32, shape (n_ctx,), 0 after the first ``n_tokens``."""
        import numpy as np

        ids = np.zeros(self.n_ctx(), np.intc)
        tokens = self._sequence.tokens
        ids[: len(tokens)] = tokens
        return ids

    @input_ids.setter
    def input_ids(self, ids: npt.NDArray[np.intc]) -> None:
        self._sequence.assign_tokens([int(token) for token in ids])

    @property
    def _input_ids(self) -> npt.NDArray[np.intc]:
        return self.input_ids[: self.n_tokens]

    @property
    def scores(self) -> npt.NDArray[np.single]:
        """Logits by position of sequence 0: float32, shape (n_tokens, n_vocab).

        They are made when read; without ``logits_all`` only the last row is filled.
        """
        return self._sequence.scores

    @scores.setter
    def scores(self, scores: npt.NDArray[np.single]) -> None:
        self._sequence.scores = scores

    @property
    def _scores(self) -> npt.NDArray[np.single]:
        return self.scores[: self.n_tokens]

    @property
    def eval_tokens(self) -> deque[int]:
        """The tokens of sequence 0."""
        return deque(self._sequence.tokens, maxlen=self.n_ctx())

    @property
    def eval_logits(self) -> deque[list[float]]:
        """The logits of sequence 0: all of them with ``logits_all``, else the last ones."""
        return self._sequence.eval_logits()

    def logits(self) -> npt.NDArray[np.single]:
        """A copy of the logits after the last token: float32, shape (n_vocab,).

        Raises:
            InvalidArgumentError: Nothing was evaluated.
        """
        return self._sequence.last_logits()

    def reset(self) -> None:
        """Forget sequence 0."""
        self._sequence.reset()

    def eval(self, tokens: Sequence[int]) -> None:
        """Append tokens to sequence 0.

        Args:
            tokens: Their ids.

        Raises:
            ContextWindowError: They do not fit.
            TokenError: An id is not in the vocabulary.
            BusyError: A completion uses the sequence.
        """
        self._sequence.eval(tokens)

    def sample(
        self,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.8,
        repeat_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_eta: float = 0.1,
        mirostat_tau: float = 5.0,
        penalize_nl: bool = True,
        logits_processor: Any = None,
        grammar: LlamaGrammar | None = None,
        idx: int | None = None,
    ) -> int:
        """Choose the token after sequence 0; it is not appended.

        Args:
            top_k: As the others, see ``create_completion``.
            top_p: See there.
            min_p: See there.
            typical_p: See there.
            temp: The temperature.
            repeat_penalty: See there.
            frequency_penalty: See there.
            presence_penalty: See there.
            tfs_z: Without effect.
            mirostat_mode: See there.
            mirostat_eta: See there.
            mirostat_tau: See there.
            penalize_nl: Without effect.
            logits_processor: Changes the logits.
            grammar: What the text has to look like; it begins anew with every call.
            idx: A position to sample after, in place of the last one; needs ``logits_all``.

        Raises:
            InvalidArgumentError: Nothing was evaluated, or an argument is out of range.
        """
        sequence = self._sequence
        if self._sampler is not None:
            return sequence.sample(self._sampler, logits_processor, idx)
        sampler = self._init_sampler(
            top_k, top_p, min_p, typical_p, temp, repeat_penalty, frequency_penalty,
            presence_penalty, tfs_z, mirostat_mode, mirostat_eta, mirostat_tau, penalize_nl,
            None, grammar,
        )  # fmt: skip
        try:
            return sequence.sample(sampler, logits_processor, idx)
        finally:
            sampler.close()

    def generate(
        self,
        tokens: Sequence[int],
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.8,
        repeat_penalty: float = 1.0,
        reset: bool = True,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        penalize_nl: bool = True,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        grammar: LlamaGrammar | None = None,
    ) -> GeneratorType[int, Sequence[int] | None, None]:
        """Yield tokens that follow, in sequence 0, without end.

        What is sent into the generator is appended after the token just yielded.

        Args:
            tokens: What to go on from.
            top_k: As the others, see ``create_completion``.
            top_p: See there.
            min_p: See there.
            typical_p: See there.
            temp: The temperature.
            repeat_penalty: See there.
            reset: Whether the tokens are the whole sequence, else its next part. What the
                sequence already holds of them is not computed again.
            frequency_penalty: See ``create_completion``.
            presence_penalty: See there.
            tfs_z: Without effect.
            mirostat_mode: See ``create_completion``.
            mirostat_tau: See there.
            mirostat_eta: See there.
            penalize_nl: Without effect.
            logits_processor: Changes the logits.
            stopping_criteria: Says when to stop.
            grammar: What the text has to look like.

        Raises:
            ContextWindowError: The context is full.
            InvalidArgumentError: There are no tokens, or an argument is out of range.
        """
        sequence = self._sequence
        step = sequence.first_step(tokens, reset=reset)
        if not step.tokens:
            raise InvalidArgumentError("there are no tokens to go on from")
        if isinstance(stopping_criteria, list):
            stopping_criteria = StoppingCriteriaList(stopping_criteria)
        sampler = self._init_sampler(
            top_k, top_p, min_p, typical_p, temp, repeat_penalty, frequency_penalty,
            presence_penalty, tfs_z, mirostat_mode, mirostat_eta, mirostat_tau, penalize_nl,
            None, grammar, history=[*step.before, *step.tokens],
        )  # fmt: skip
        try:
            while True:
                token = sequence.next_token(step, sampler, logits_processor, stopping_criteria)
                if token is None:
                    return
                sent = yield token
                step.tokens = [token, *(sent or ())]
        finally:
            sampler.close()

    def _init_sampler(
        self,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.8,
        repeat_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_eta: float = 0.1,
        mirostat_tau: float = 5.0,
        penalize_nl: bool = True,
        logits_processor: Any = None,
        grammar: LlamaGrammar | None = None,
        *,
        history: Sequence[int] | None = None,
    ) -> TokenSampler:
        known: Mapping[str, Any] = {
            "top_k": top_k, "top_p": top_p, "min_p": min_p, "typical_p": typical_p,
            "temperature": temp, "repeat_penalty": repeat_penalty,
            "frequency_penalty": frequency_penalty, "presence_penalty": presence_penalty,
            "mirostat_mode": mirostat_mode, "mirostat_eta": mirostat_eta,
            "mirostat_tau": mirostat_tau, "penalty_last_n": self.last_n_tokens_size,
        }  # fmt: skip
        model = self._model.handle
        rules = None
        if grammar is not None:
            rules = samplers.grammar(model.vocab, grammar._grammar, grammar._root)
        params = sampling_params(known, {}, self._seed_for(None))
        if history is None:
            history = self._sequence.tokens
        return token_sampler(params, model, grammar=rules, history=history)

    # States.

    def save_state(self) -> LlamaState:
        """Copy what sequence 0 holds.

        Raises:
            BusyError: A completion uses the sequence.
        """
        sequence, model = self._sequence, self._fingerprint
        with sequence.held():
            state = state_of(self._ctx.handle, self._engine.slots[0], model)
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
        tokens = self._checked_state(state)
        sequence = self._sequence
        with sequence.held():
            self._put(state, tokens)

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
        tokens = self._checked_state(state)
        sequence, slot = self._sequence, self._engine.slots[0]
        with sequence.held():
            before = state_of(self._ctx.handle, slot, b"")
            before.scores = sequence.last_row()
            try:
                self._put(state, tokens)
            except BaseException:
                self._put(before, before.input_ids.tolist())
                raise

    def _checked_state(self, state: LlamaState) -> list[int]:
        """Return the tokens of a state that is this model's."""
        if not isinstance(state, LlamaState):
            raise InvalidArgumentError(
                f"a state is what save_state returns, a LlamaState, not {type(state).__name__}"
            )
        tokens = [int(token) for token in state.input_ids[: state.n_tokens]]
        scores = state.scores
        if (
            (state.model and state.model != self._fingerprint)
            or len(tokens) > self.n_ctx()
            or any(token >= self._n_vocab for token in tokens)  # images and sounds are negative
            or (scores.size and scores.shape[-1] != self._n_vocab)
        ):
            raise StateError(
                "the state is of another model, or of a larger context: open the file that it was "
                f"made with, with the same parameters, and n_ctx={len(tokens)} at least"
            )
        return tokens

    def _put(self, state: LlamaState, tokens: list[int]) -> None:
        """Let sequence 0, which is held, have a state."""
        self._zero.forget()
        if tokens:
            self._ctx.handle.state.set_sequence(state.llama_state, 0)
        self._zero.restore(tokens, state.scores)
        slot = self._engine.slots[0]
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

    def _recall(self, prompt: Sequence[int]) -> None:
        """Let a prompt begin with what the cache holds of it, if that is more."""
        if self.cache is not None:
            self._keeper.recall(self.cache, prompt)

    def _keep(self) -> None:
        """Put what replies have left into the cache, in time."""
        if self.cache is not None:
            self._keeper.keep(self.cache)

    @cached_property
    def _keeper(self) -> Keeper:
        return Keeper(
            self._engine,
            self._ctx.handle,
            partial(fingerprint_of, self._ctx.handle, self.lora_path, self.lora_scale),
        )

    @cached_property
    def _fingerprint(self) -> bytes:
        return self._keeper.fingerprint

    @property
    def _sequence(self) -> SequenceZero:
        self._check_context()
        return self._zero
