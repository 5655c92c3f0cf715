"""How likely a model finds texts: scores of continuations, perplexities."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from ..engine import Call, Logprobs, Request
from ..errors import DecodeAbortedError, InvalidArgumentError
from ..handles.token_sampler import TopLogprobs
from ..sampling.chain import token_sampler
from ..sampling.params import SamplingParams
from .generator import Generator

T = TypeVar("T")


class Score(NamedTuple):
    """How likely a model finds a continuation.

    Attributes:
        logprob: The sum of the log-probabilities of its tokens.
        is_greedy: Whether each token is the likeliest in its place.
        tokens: Their ids.
        token_logprobs: The log-probability of each, given all before it.
    """

    logprob: float
    is_greedy: bool
    tokens: list[int]
    token_logprobs: list[float]

    @property
    def n_tokens(self) -> int:
        """How many tokens the continuation has."""
        return len(self.tokens)


@dataclass(frozen=True)
class Perplexity:
    """How badly a model predicts a text.

    Attributes:
        perplexity: ``exp(nll)``.
        stderr: The standard error of the perplexity; NaN if a single token was measured.
        nll: The mean negative log-likelihood of a token, in nats.
        n_tokens: How many tokens were measured.
        n_chunks: In how many chunks.
    """

    perplexity: float
    stderr: float
    nll: float
    n_tokens: int
    n_chunks: int


class Measured(NamedTuple):
    """A sequence of tokens, of which those from ``start`` on are measured."""

    tokens: Sequence[int]
    start: int


class Records:
    """The consumer of a request: keeps what is told of the prompt."""

    has_news = False

    def __init__(self) -> None:
        self.logprobs: list[float] = []
        self.is_greedy = True

    def prompt_token(self, token: int, logprobs: Logprobs | None) -> None:
        """Keep the log-probability of a token."""
        assert logprobs is not None
        self.logprobs.append(logprobs.logprob)
        self.is_greedy &= not logprobs.top or logprobs.top[0][0] == token

    def token(self, token: int, logprobs: Logprobs | None) -> bool:
        """Take none: nothing is generated."""
        return True

    def finish(self) -> None:
        """Know that no more tokens come."""


class Measurement(Generic[T]):
    """A call that measures, which begins when its result is asked for.

    Args:
        generator: The model.
        parts: At least one, and at least one token comes before each.
        shape: Makes the result of what was measured.
        n_top: 1 to find out whether the tokens are the likeliest, else 0.
    """

    def __init__(
        self,
        generator: Generator,
        parts: Sequence[Measured],
        shape: Callable[[list[Records]], T],
        *,
        n_top: int = 0,
    ) -> None:
        self._generator = generator
        self._parts = parts
        self._shape = shape
        self._n_top = n_top
        self._call: Call | None = None
        self._is_cancelled = False

    def result(self) -> T:
        """Wait for all parts and return what was measured.

        Raises:
            ContextWindowError: A sequence does not fit into the context.
            DecodeAbortedError: The call was cancelled.
            LlamaError: What the engine raised.
        """
        engine = self._generator.engine
        records = [Records() for _ in self._parts]
        requests = self._requests(records)
        self._call = call = engine.submit(requests)
        try:
            if self._is_cancelled:
                engine.cancel(call)
            engine.wait(call, until_finished=True)
        except BaseException:
            engine.cancel(call)
            raise
        for request in requests:
            if request.error is not None:
                raise request.error
            if request.cancelled:
                raise DecodeAbortedError("the call was cancelled", code=2)
        return self._shape(records)

    def cancel(self) -> None:
        """Stop, from any thread."""
        self._is_cancelled = True
        if self._call is not None:
            self._generator.engine.cancel(self._call)

    def _requests(self, records: Sequence[Records]) -> list[Request]:
        model = self._generator.model
        top = TopLogprobs(model.n_vocab, self._n_top)
        greedy = SamplingParams(temperature=0)
        return [
            Request(
                tokens,
                token_sampler(greedy, model),
                each,
                max_tokens=0,
                logprobs=top,
                prompt_logprobs=True,
                measured_from=start,
            )
            for (tokens, start), each in zip(self._parts, records, strict=True)
        ]


def scoring(generator: Generator, parts: Sequence[Measured]) -> Measurement[list[Score]]:
    """Measure how likely the ends of sequences are."""

    def shape(records: list[Records]) -> list[Score]:
        return [
            Score(math.fsum(each.logprobs), each.is_greedy, list(tokens[start:]), each.logprobs)
            for (tokens, start), each in zip(parts, records, strict=True)
        ]

    return Measurement(generator, parts, shape, n_top=1)


def perplexity(
    generator: Generator, tokens: Sequence[int], n_ctx: int, stride: int | None
) -> Measurement[Perplexity]:
    """Measure how badly a model predicts tokens; see ``chunks``."""
    vocab = generator.model.vocab
    bos = vocab.bos if vocab.add_bos and vocab.bos >= 0 else None

    def shape(records: list[Records]) -> Perplexity:
        logprobs = [logprob for each in records for logprob in each.logprobs]
        count = len(logprobs)
        nll = -math.fsum(logprobs) / count
        variance = math.fsum((logprob + nll) ** 2 for logprob in logprobs) / count
        error = math.sqrt(variance / (count - 1)) if count > 1 else math.nan
        try:
            value = math.exp(nll)
        except OverflowError:
            value = math.inf
        return Perplexity(value, value * error, nll, count, len(records))

    return Measurement(generator, chunks(tokens, n_ctx, stride, first=bos), shape)


def chunks(
    tokens: Sequence[int], n_ctx: int, stride: int | None, *, first: int | None
) -> list[Measured]:
    """Cut tokens into what llama.cpp's perplexity tool measures.

    Args:
        tokens: At least ``n_ctx``; the rest that fills no chunk is left out.
        n_ctx: Tokens of a chunk.
        stride: None measures the second half of chunks that follow each other; a number lets a
            chunk begin so many tokens after the one before, and measures its last ones.
        first: Replaces the first token of each chunk: BOS.

    Raises:
        InvalidArgumentError: There are not enough tokens.
    """
    if len(tokens) < n_ctx:
        raise InvalidArgumentError(
            f"the text has {len(tokens)} tokens, and a chunk has n_ctx={n_ctx}: give a longer text "
            "or a smaller n_ctx"
        )
    # The tool counts from the token after the first whose logits it asks for.
    start = n_ctx // 2 + 1 if stride is None else n_ctx - stride
    return [
        Measured(
            [tokens[begin] if first is None else first, *tokens[begin + 1 : begin + n_ctx]], start
        )
        for begin in range(0, len(tokens) - n_ctx + 1, n_ctx if stride is None else stride)
    ]
