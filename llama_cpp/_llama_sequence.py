"""What ``Llama`` offers token by token: sequence 0."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator as GeneratorType
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._llama_states import LlamaStates
from .constraints.gbnf import LlamaGrammar
from .errors import InvalidArgumentError
from .handles import samplers
from .handles.token_sampler import TokenSampler
from .sampling.chain import token_sampler
from .sampling.hooks import StoppingCriteriaList
from .sampling.options import sampling_params

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class LlamaSequence(LlamaStates):
    """The part of ``Llama`` that computes single tokens."""

    last_n_tokens_size: int
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
