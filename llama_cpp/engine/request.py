"""``Request``: one text to generate. ``Call``: the requests that one caller waits for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from ..errors import InvalidArgumentError
from .adapter_spans import Spans
from .draft_length import DraftLength
from .media import MediaPrompt, PlacedMedia, n_cells
from .terms import Terms

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..handles.token_sampler import TokenSampler, TopLogprobs
    from ..handles.traced_sampling import TraceStage

FinishReason = Literal["stop", "length", "timeout"]


_DEFAULT = Terms()


class Logprobs(NamedTuple):
    """The log-probability of a token, and the likeliest tokens in its place."""

    logprob: float
    top: list[tuple[int, float]]


class Consumer(Protocol):
    """Takes the tokens of a request as they come, on whichever thread is stepping."""

    def prompt_token(self, token: int, logprobs: Logprobs | None) -> None:
        """Take a token of the prompt, if log-probabilities of the prompt were asked for."""

    def token(self, token: int, logprobs: Logprobs | None) -> bool:
        """Take a token; return whether the text ends with it."""

    def finish(self) -> None:
        """Know that no more tokens come."""

    @property
    def has_news(self) -> bool:
        """Whether there is something to hand out."""


class Call:
    """One caller's requests.

    Args:
        requests: At least one.
    """

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.wake: threading.Condition | None = None
        """Set while the caller's thread sleeps."""
        self.thread = threading.get_ident()
        """Which one waits for the texts."""
        self.wants_all = False
        self.wants_step_lock = False
        """Whether it waits for the memory, to work on it by hand."""
        self.n_running = len(requests)

    def is_ready(self) -> bool:
        """Whether the caller has something to do."""
        if self.wants_step_lock:
            return False  # it gets its turn
        if not self.n_running:
            return True
        if self.wants_all:
            return False
        return any(request.consumer.has_news for request in self.requests)


class Request:
    """A prompt, how to go on from it, and how far that went.

    Args:
        prompt: At least one token id; a ``MediaPrompt`` where it has images or sounds.
        sampler: Chooses the tokens; the request owns it.
        consumer: Takes them.
        max_tokens: How many at most.
        logprobs: Measures the log-probabilities of the tokens.
        prompt_logprobs: Whether to measure those of the prompt too.
        measured_from: The first token of the prompt to measure; those before may be reused.
        processor: Changes the logits before a token is chosen.
        stopping: Says from tokens and logits whether to stop before the next token.
        spans: The adapters that the tokens are computed with; None: those of the engine.
        terms: How important it is, and when it ends at the latest.
        traces: Whether to tell how each token is chosen.

    Raises:
        InvalidArgumentError: The log-probabilities of a prompt with images or sounds are wanted.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        sampler: TokenSampler,
        consumer: Consumer,
        max_tokens: int,
        *,
        logprobs: TopLogprobs | None = None,
        prompt_logprobs: bool = False,
        measured_from: int = 0,
        processor: Callable[[Any, Any], npt.NDArray[np.float32]] | None = None,
        stopping: Callable[[Any, Any], bool] | None = None,
        spans: Spans | None = None,
        terms: Terms = _DEFAULT,
        traces: bool = False,
    ) -> None:
        self.tokens = list(prompt)
        """What the sequence consists of; a context shift takes tokens out of its middle."""
        self.n_prompt = len(self.tokens)
        self.media: Sequence[PlacedMedia] = ()
        if isinstance(prompt, MediaPrompt):
            self.media = prompt.media
            if prompt_logprobs:
                raise InvalidArgumentError(
                    "the log-probabilities of a prompt with images or sounds cannot be told: do "
                    "not echo it"
                )
        self.n_extra = n_cells(prompt) - self.n_prompt
        """Cells of the memory that it takes besides one for each position."""
        self.n_generated = 0
        self.submit_time = 0.0
        """When it was queued, by ``time.monotonic``."""
        self.admit_time: float | None = None
        """When it first got a slot."""
        self.first_token_time: float | None = None
        """When the first token was chosen."""
        self.end_time: float | None = None
        """When it ended."""
        self.n_reused = 0
        """Prompt tokens that did not have to be computed."""
        self.n_reached = 0
        """How much of the prompt the memory has held."""
        self.measured_from = measured_from
        self.n_measured = measured_from
        """Where in the prompt the tokens begin that the consumer does not have yet."""
        self.n_drafted = self.n_accepted = 0
        self.drafting: DraftLength | None = None
        self.forced: deque[int] = deque()
        """Tokens that come next, whatever the model would say; the consumer may add to them."""
        self.sampler = sampler
        self.consumer = consumer
        self.max_tokens = max_tokens
        self.logprobs = logprobs
        self.prompt_logprobs = prompt_logprobs
        self.processor = processor
        self.stopping = stopping
        self.spans = spans
        self.terms = terms
        self.traces = traces
        self.trace: list[TraceStage] | None = None
        """How the token was chosen that the consumer is given."""
        self.has_hooks = processor is not None or stopping is not None or traces
        self.call: Call
        self.number = 0
        """In the order of arrival."""
        self.finish_reason: FinishReason | None = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.finished = False

    @property
    def n_computed(self) -> int:
        """Prompt tokens that were computed."""
        return max(0, self.n_reached - self.n_reused)

    def is_overdue(self, now: float) -> bool:
        """Whether its time is over."""
        return self.terms.deadline is not None and now >= self.terms.deadline

    def reach(self, n_cached: int) -> None:
        """Know how many of its tokens the memory holds."""
        self.n_reached = max(self.n_reached, min(n_cached, self.n_prompt))

    @property
    def reusable(self) -> list[int]:
        """The tokens whose memory another sequence may lend: no logits are wanted before them."""
        return self.tokens[: self.measured_from] if self.prompt_logprobs else self.tokens

    def next_forced(self) -> int:
        """Take the first of the tokens that have to come."""
        token = self.forced.popleft()
        self.sampler.accept(token)
        return token

    @property
    def measures(self) -> bool:
        """Whether somebody looks at the logits before each token."""
        return self.has_hooks or self.logprobs is not None

    @property
    def ids(self) -> list[int]:
        """The tokens without the numbers that stand for images and sounds."""
        return [token for token in self.tokens if token >= 0] if self.media else self.tokens
