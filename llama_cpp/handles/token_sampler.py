"""``TokenSampler``: the next token of one text, from a row of logits."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import llama_cpp as raw
from ..errors import GrammarError, InvalidArgumentError, LlamaError
from ..native.backend import bridge, take_string
from ..native.generated.bridge import bridge_token_sampler
from ..validation import native_arguments as checks
from .sampler import Sampler

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .context import Context
    from .matcher import Matcher
    from .sampler import SamplerChain

# NULL that is known to be a context's: a plain None would be looked at more closely at each call.
_NO_CONTEXT = raw.llama_context_p(0)
_FLOATS = ctypes.POINTER(ctypes.c_float)
_WORDS = ctypes.POINTER(ctypes.c_uint32)


class TokenSampler:
    """A chain that chooses, and a constraint that checks what was chosen.

    The constraint looks at one token, and at the whole row only when it refuses that one: then it
    masks the row and the chain chooses again, as in llama-server.

    Args:
        chain: It must end with a sampler that selects.
        n_vocab: The width of a row.
        constraint: What the text has to look like: a grammar of the engine, or a matcher.
        n_best: The chain needs only so many of the best tokens: 1 if it is greedy alone, k if it
            begins with top-k, 0 for all.
        biases: Added to the logits first, by token id.

    Raises:
        InvalidArgumentError: The chain does not choose, or a bias is not a number.
        TokenError: A bias is for a token outside of the vocabulary.
    """

    def __init__(
        self,
        chain: SamplerChain,
        n_vocab: int,
        constraint: Sampler | Matcher | None = None,
        n_best: int = 0,
        biases: Mapping[int, float] | None = None,
    ) -> None:
        if not chain.selects:
            raise InvalidArgumentError("the chain must end with a sampler that chooses a token")
        self.chain = chain
        self.grammar: Sampler | None = None
        self.matcher: Matcher | None = None
        self._n_vocab = n_vocab
        self._native = bridge_token_sampler(
            chain=chain.pointer,
            biases=_bias_array(biases or {}, n_vocab),
            n_biases=len(biases or {}),
            n_best=n_best,
            n_vocab=n_vocab,
        )
        self._sample = bridge("bridge_sample")
        self._error = ctypes.c_char_p()
        if constraint is not None:
            self.begin(constraint)

    def sample(self, context: Context, index: int) -> int:
        """Choose a token for the batch entry ``index`` of the last decode, and accept it.

        Raises:
            InvalidArgumentError: There are no logits at this index.
            GrammarError: The grammar allows no token.
            LlamaError: Nothing can be chosen, for example because all tokens are forbidden.
        """
        pointer = context.acquire()
        try:
            if context.model.n_vocab != self._n_vocab:
                raise InvalidArgumentError("the context is of a model with another vocabulary")
            return self._choose(pointer, index, None)
        finally:
            context.release()

    def sample_row(self, row: npt.NDArray[np.float32]) -> int:
        """Choose a token from a row of logits, and accept it.

        Args:
            row: Shape (n_vocab,), float32, contiguous.

        Raises:
            InvalidArgumentError: It has another shape.
            GrammarError: The grammar allows no token.
            LlamaError: Nothing can be chosen.
        """
        if row.shape != (self._n_vocab,):
            raise InvalidArgumentError(
                f"a row of logits has shape ({self._n_vocab},), not {row.shape}"
            )
        return self._choose(_NO_CONTEXT, 0, row.ctypes.data_as(_FLOATS))

    def begin(self, constraint: Sampler | Matcher) -> None:
        """Have a constraint check the tokens from now on; it is owned."""
        if isinstance(constraint, Sampler):
            self.grammar = constraint
            self._native.grammar = constraint.pointer
        else:
            self.matcher = constraint
            self._native.asks = True

    @property
    def biases(self) -> dict[int, float]:
        """What is added to the logits first, by token id."""
        native = self._native
        return {each.token: each.bias for each in native.biases[: native.n_biases]}

    def forced(self) -> Sequence[int]:
        """The tokens that have to follow what was accepted, where the constraint tells."""
        return () if self.matcher is None else self.matcher.forced()

    def n_allowed(self, tokens: Sequence[int]) -> int:
        """How many of these tokens may follow, as far as the constraint tells."""
        return len(tokens) if self.matcher is None else self.matcher.n_allowed(tokens)

    def accept(self, token: int) -> None:
        """Take a token that was not sampled.

        Raises:
            GrammarError: The constraint does not allow it.
        """
        if self.matcher is not None and not self.matcher.accept(token):
            raise GrammarError(f"the constraint does not allow token {token} here")
        if self.grammar is not None:
            self.grammar.accept(token)
        self.chain.accept(token)

    @property
    def is_complete(self) -> bool:
        """Whether the constraint allows nothing more."""
        return self.matcher is not None and self.matcher.is_complete

    def close(self) -> None:
        """Free the samplers."""
        self.chain.close()
        if self.grammar is not None:
            self.grammar.close()

    def _choose(self, context: Any, index: int, row: Any) -> int:
        error = self._error
        self._acquire()
        try:
            token: int = self._sample(self._native, context, index, row, error)
        finally:
            self._release()
        if error:
            raise self.failure(take_string(error))
        return (
            token
            if self.matcher is None
            else self._agreed(self.matcher, token, context, index, row)
        )

    def _agreed(self, matcher: Matcher, token: int, context: Any, index: int, row: Any) -> int:
        """Have the matcher and the chain take a token, or another one where it is refused."""
        if not matcher.accept(token):
            error = self._error
            self._native.mask = ctypes.cast(matcher.mask(), _WORDS)
            self._acquire()
            try:
                token = self._sample(self._native, context, index, row, error)
            finally:
                self._release()
                self._native.mask = None
            if error:
                raise self.failure(take_string(error))
            if not matcher.accept(token):
                raise GrammarError(f"the constraint allows token {token} here, and refuses it")
        self.chain.accept(token)
        return token

    def failure(self, message: str) -> LlamaError:
        """What to raise where no token can be chosen, for the reason that ``message`` says."""
        if message.startswith("the last decode"):
            return InvalidArgumentError(message)
        kind = LlamaError if self.grammar is None and self.matcher is None else GrammarError
        return kind(f"no token can be sampled: {message}")

    def _acquire(self) -> None:
        self.chain.acquire()
        if self.grammar is not None:
            try:
                self.grammar.acquire()
            except BaseException:
                self.chain.release()
                raise

    def _release(self) -> None:
        if self.grammar is not None:
            self.grammar.release()
        self.chain.release()


class RowSampler:
    """Chooses the next tokens of several texts in one native call.

    Args:
        n_rows: How many texts at most.
    """

    def __init__(self, n_rows: int) -> None:
        self._natives = (bridge_token_sampler * n_rows)()
        self._indices = (ctypes.c_int32 * n_rows)()
        self._tokens = (ctypes.c_int32 * n_rows)()
        self._errors = (ctypes.c_char_p * n_rows)()
        self._sample_rows = bridge("bridge_sample_rows")

    def sample(
        self, context: Context, samplers: Sequence[TokenSampler], indices: Sequence[int]
    ) -> list[int | LlamaError]:
        """Choose a token for each batch entry of the last decode, and have its sampler accept it.

        Args:
            context: Its last decode gave the logits.
            samplers: One per text.
            indices: As many batch entries.

        Returns:
            The tokens; in place of one that cannot be chosen what ``TokenSampler.sample`` raises.
        """
        acquired = 0
        pointer = context.acquire()
        try:
            for i, (sampler, index) in enumerate(zip(samplers, indices, strict=True)):
                sampler._acquire()
                acquired += 1
                self._natives[i], self._indices[i] = sampler._native, index
            n_errors = self._sample_rows(
                self._natives, pointer, self._indices, acquired, self._tokens, self._errors
            )
        finally:
            for sampler in samplers[:acquired]:
                sampler._release()
            context.release()
        tokens: list[int | LlamaError] = list(self._tokens[:acquired])
        if n_errors:
            for i, sampler in enumerate(samplers):
                if self._errors[i] is not None:
                    tokens[i] = sampler.failure(self._take_error(i))
        for i, sampler in enumerate(samplers):
            if sampler.matcher is not None and self._tokens[i] >= 0:
                tokens[i] = self._agreed(sampler, context, indices[i], self._tokens[i])
        return tokens

    @staticmethod
    def _agreed(
        sampler: TokenSampler, context: Context, index: int, token: int
    ) -> int | LlamaError:
        assert sampler.matcher is not None
        pointer = context.acquire()
        try:
            return sampler._agreed(sampler.matcher, token, pointer, index, None)
        except LlamaError as error:
            return error
        finally:
            context.release()

    def _take_error(self, index: int) -> str:
        # Reading an entry of the array copies its text; its address is what is to be freed.
        address = ctypes.c_void_p.from_buffer(self._errors, index * ctypes.sizeof(ctypes.c_void_p))
        return take_string(ctypes.cast(address, ctypes.c_char_p))


def _bias_array(biases: Mapping[int, float], n_vocab: int) -> Any:
    array = (raw.llama_logit_bias * len(biases))()
    for entry, (token, bias) in zip(array, biases.items(), strict=True):
        entry.token = checks.token_id(token, n_vocab)
        checks.in_range(f"the bias of token {token}", bias, -math.inf, checks.FLOAT32_MAX)
        entry.bias = bias
    return array


class TopLogprobs:
    """Log-probabilities of single rows of logits, and of the likeliest tokens.

    Args:
        n_vocab: The width of a row.
        n_top: How many of the likeliest tokens to give, 0 for none.
    """

    def __init__(self, n_vocab: int, n_top: int) -> None:
        checks.integer("logprobs", n_top, 0, n_vocab)
        self._n_vocab = n_vocab
        self._n_top = n_top
        self._ids = (ctypes.c_int32 * max(n_top, 1))()
        self._logprobs = (ctypes.c_float * max(n_top, 1))()
        self._call = bridge("bridge_top_logprobs")

    def of(self, context: Context, index: int, token: int) -> tuple[float, list[tuple[int, float]]]:
        """Return the log-probability of ``token``, and the likeliest tokens with theirs.

        Args:
            context: Its last decode gave the logits.
            index: Of the batch entry.
            token: Its log-probability is wanted.

        Raises:
            InvalidArgumentError: There are no logits at this index.
        """
        pointer = context.acquire()
        try:
            row = raw.llama_get_logits_ith(pointer, index)
            if not row or not 0 <= token < self._n_vocab:
                raise InvalidArgumentError(f"the last decode gave no logits for entry {index}")
            logprob = self._call(row, self._n_vocab, token, self._n_top, self._ids, self._logprobs)
        finally:
            context.release()
        top = list(zip(self._ids, self._logprobs, strict=True))[: self._n_top]
        return logprob, top
