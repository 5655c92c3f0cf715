"""What ``Llama`` offers besides texts: tokens, single evaluations, facts about the model."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Generator as GeneratorType
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import llama_cpp as raw
from ._internals import LlamaContext, LlamaModel
from ._sequence_zero import SequenceZero
from .engine import Engine
from .engine.slots import shared_prefix
from .errors import ClosedError, InvalidArgumentError
from .handles import samplers
from .handles.token_sampler import TokenSampler
from .llama_grammar import LlamaGrammar
from .llama_tokenizer import BaseLlamaTokenizer, LlamaTokenizer
from .sampling.chain import token_sampler
from .sampling.options import sampling_params

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

RANDOM_SEED = raw.LLAMA_DEFAULT_SEED


class ModelAddress(raw.llama_model_p):
    """The address of a model, for raw calls, which knows the texts of its tokens too."""

    def __new__(cls, model: LlamaModel) -> Self:
        """Take the address of this model."""
        return super().__new__(cls, int(model.model))

    def __init__(self, model: LlamaModel) -> None:
        super().__init__(int(self))
        self._model = model

    def token_to_piece(self, token: int, special: bool = False) -> bytes:
        """The bytes that one token stands for."""
        return self._model.token_to_piece(token, special)


class LlamaCore:
    """The part of ``Llama`` below completions: sequence 0, token by token."""

    _model: LlamaModel
    _ctx: LlamaContext
    _engine: Engine
    _zero: SequenceZero
    _sampler: TokenSampler | None
    _arguments: dict[str, Any]
    _n_vocab: int
    _vocab_only: bool
    tokenizer_: BaseLlamaTokenizer
    last_n_tokens_size: int

    # Tokens.

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Split a text into token ids.

        Args:
            text: UTF-8.
            add_bos: Whether BOS comes first, where the model wants it.
            special: Whether the text of special tokens stands for those tokens.

        Raises:
            TextError: The text is too long, or not Unicode.
        """
        return self.tokenizer_.tokenize(text, add_bos, special)

    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes:
        """Join token ids to the bytes of a text.

        Args:
            tokens: The ids.
            prev_tokens: Those before; only Hugging Face's tokenizers need them.
            special: Whether special tokens are part of the text.

        Raises:
            TokenError: An id is not in the vocabulary.
        """
        return self.tokenizer_.detokenize(tokens, prev_tokens=prev_tokens, special=special)

    def tokenizer(self) -> LlamaTokenizer:
        """The model's own tokenizer."""
        return LlamaTokenizer(self)  # type: ignore[arg-type]  # Llama is the only heir

    def n_vocab(self) -> int:
        """Tokens in the vocabulary: the width of a row of logits."""
        return self._model.n_vocab()

    def token_bos(self) -> int:
        """The token that begins a text, or -1."""
        return self._model.token_bos()

    def token_eos(self) -> int:
        """The token that ends a text, or -1."""
        return self._model.token_eos()

    def token_nl(self) -> int:
        """The line feed, or -1."""
        return self._model.token_nl()

    # The model.

    @property
    def model(self) -> ModelAddress:
        """The address of the ``llama_model``."""
        return ModelAddress(self._model)

    @property
    def ctx(self) -> raw.llama_context_p:
        """The address of the ``llama_context``."""
        self._check_context()
        return self._ctx.ctx

    def n_ctx(self) -> int:
        """Tokens that one sequence may have."""
        self._check_context()
        return self._engine.n_ctx

    def n_embd(self) -> int:
        """The width of the hidden state."""
        return self._model.n_embd()

    def pooling_type(self) -> int:
        """How embeddings are pooled: ``LLAMA_POOLING_TYPE_*``."""
        self._check_context()
        return self._ctx.pooling_type()

    # Sequence 0.

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
        import numpy as np

        tokens = list(tokens)
        sequence = self._sequence
        if reset:
            n_shared = shared_prefix(sequence.tokens, tokens[:-1])
            sequence.n_tokens = n_shared
            tokens = tokens[sequence.n_tokens :]
        if not tokens:
            raise InvalidArgumentError("there are no tokens to go on from")
        sampler = self._init_sampler(
            top_k, top_p, min_p, typical_p, temp, repeat_penalty, frequency_penalty,
            presence_penalty, tfs_z, mirostat_mode, mirostat_eta, mirostat_tau, penalize_nl,
            None, grammar,
        )  # fmt: skip
        try:
            while True:
                self.eval(tokens)
                token = sequence.sample(sampler, logits_processor)
                if stopping_criteria is not None and stopping_criteria(
                    np.array(sequence.tokens, np.intc), sequence.last_logits()
                ):
                    return
                sent = yield token
                tokens = [token, *(sent or ())]
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
        return token_sampler(params, model, grammar=rules, history=self._sequence.tokens)

    # Seeds.

    def set_seed(self, seed: int) -> None:
        """Set what the seeds of calls without a seed of their own follow from.

        Args:
            seed: 2**32 - 1, or a negative number, takes a random one.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or seed >= 2**32:
            raise InvalidArgumentError(f"seed={seed!r} must be an integer below 2**32")
        is_random = seed < 0 or seed == RANDOM_SEED
        self._seed = RANDOM_SEED if is_random else seed
        self._seeds = random.Random(None if is_random else seed)

    def _seed_for(self, seed: int | None) -> int:
        if seed is None or seed == -1 or seed == RANDOM_SEED:
            return self._seeds.randrange(RANDOM_SEED)
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < RANDOM_SEED:
            raise InvalidArgumentError(
                f"seed={seed!r} must be an integer from 0 to {RANDOM_SEED - 1}"
            )
        return seed

    # Its end.

    def close(self) -> None:
        """Free the model. What runs on other threads ends with ``ClosedError``."""
        if "_engine" in self.__dict__:
            self._engine.close()
        if "_ctx" in self.__dict__:
            self._ctx.close()
        if "_model" in self.__dict__:
            self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The handles free themselves; scripts call this by hand to free the model.
        with contextlib.suppress(Exception):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self._arguments

    def __setstate__(self, arguments: dict[str, Any]) -> None:
        self.__init__(**arguments)  # type: ignore[misc]

    @property
    def _sequence(self) -> SequenceZero:
        self._check_context()
        return self._zero

    def _check_context(self) -> None:
        if self._vocab_only:
            raise InvalidArgumentError(
                "this Llama has only a vocabulary (vocab_only=True): it can tokenize and nothing "
                "else"
            )
        if self._ctx.handle.closed:
            raise ClosedError("this Llama is closed: create a new one")

    @staticmethod
    def logits_to_logprobs(logits: npt.ArrayLike, axis: int = -1) -> npt.NDArray[np.single]:
        """Turn logits into log-probabilities, float32 of the same shape.

        Args:
            logits: Any shape.
            axis: Along which the probabilities sum up to 1.
        """
        import numpy as np

        values = np.asarray(logits, np.float32)
        shifted = values - values.max(axis=axis, keepdims=True)
        total = np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
        logprobs: npt.NDArray[np.single] = (shifted - total).astype(np.single)
        return logprobs

    @staticmethod
    def longest_token_prefix(a: Sequence[int], b: Sequence[int]) -> int:
        """Return how many tokens two sequences begin with in common."""
        return shared_prefix(list(a), list(b))
