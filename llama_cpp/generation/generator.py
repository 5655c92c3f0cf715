"""Texts that are being written: what a call asks for, as requests of the engine."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from collections.abc import Generator as GeneratorType
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..cache.prompt_cache import PromptCache
from ..constraints.grammar_sampler import LazyGrammar, begun
from ..engine import Call, Engine, Logprobs, Request
from ..engine.adapter_spans import spans_of
from ..errors import InvalidArgumentError
from ..handles import Model
from ..handles.token_sampler import TopLogprobs
from ..llama_types import (
    CompletionLogprobs,
    CompletionTokensDetails,
    CompletionUsage,
    PromptProgress,
    SamplingTraceStage,
    Timings,
)
from ..sampling.chain import token_sampler
from ..sampling.params import SamplingParams
from ..text import Pieces, StopStrings
from ..text.builder import TextBuilder, TokenRecord
from .params import GenerationParams
from .thinking import Thinking
from .timings import progress_of, timings_of


@dataclass(frozen=True)
class Generator:
    """What a model needs to generate: its engine, its tokens' texts, and states that are kept."""

    engine: Engine
    model: Model
    pieces: Pieces
    cache: PromptCache

    def check(self) -> None:
        """Refuse what cannot generate.

        Raises:
            InvalidArgumentError: The model does not continue texts.
            ClosedError: It is closed.
        """
        self.engine.check_open()
        if self.model.has_encoder or not self.engine.context.has_memory:
            raise InvalidArgumentError(
                f"this model ({self.model.header.architecture}) does not continue texts: use embed"
            )

    def pieces_with(self, preserved: frozenset[int]) -> Pieces:
        """What the tokens say if these special ones say their names."""
        vocab = self.model.vocab
        return Pieces(lambda token: vocab.token_to_piece(token, special=token in preserved))


@dataclass(eq=False)
class Choice:
    """One text that is being written: the consumer of a request's tokens."""

    index: int
    prompt: Sequence[int]
    prompt_text: str
    builder: TextBuilder
    lazy_grammar: LazyGrammar | None = None
    thinking: Thinking | None = None
    request: Request = field(init=False)
    prompt_records: list[TokenRecord] = field(default_factory=list)
    reported: bool = False
    tells_progress: bool = False
    n_told: int = 0
    """How much of the prompt was said to be computed."""

    @property
    def has_news(self) -> bool:
        """Whether there is text, or an end, that was not handed out."""
        is_over = self.request.finished and not self.reported
        return bool(self.builder.parts) or is_over or self.has_progress

    @property
    def has_progress(self) -> bool:
        """Whether more of the prompt is computed than was told."""
        known = max(self.n_told, self.request.n_reused)
        return self.tells_progress and self.request.n_reached > known

    def progress(self) -> PromptProgress:
        """Tell how much of the prompt is computed."""
        progress = progress_of(self.request)
        self.n_told = progress["processed"]
        return progress

    def prompt_token(self, token: int, logprobs: Logprobs | None) -> None:
        """Keep the log-probability of a token of the prompt."""
        logprob, top = logprobs if logprobs is not None else (None, None)
        self.prompt_records.append(TokenRecord(token, logprob, top, 0))

    def token(self, token: int, logprobs: Logprobs | None) -> bool:
        """Take a token; return whether a stop string is complete."""
        said = None
        if self.thinking is not None:
            said = self.thinking.after(token)
            self.request.forced.extend(self.thinking.end())
        if self.lazy_grammar is not None:
            # A thought may mention what a call begins with.
            grammar = self.lazy_grammar.after(token if said is None else said)
            if grammar is not None:
                self.request.sampler.begin(grammar)
                self.lazy_grammar = None
        logprob, top = (None, None) if logprobs is None else logprobs
        return self.builder.add(token, logprob, top, self.request.trace)

    def finish(self) -> None:
        """Know that no more tokens come."""
        self.builder.finish()


class Progress(NamedTuple):
    """How much of the prompt of a choice is computed."""

    choice: Choice
    told: PromptProgress


class Run:
    """Completions that are being written.

    Args:
        generator: The model.
        prompts: Token ids, one list per prompt.
        params: How tokens are chosen.
        options: The rest.
        texts: The prompts as text, where they are echoed.

    Raises:
        ContextWindowError: A prompt does not fit into the context.
        GrammarError: The grammar does not parse.
        TokenError: A token id is not in the vocabulary.
    """

    def __init__(
        self,
        generator: Generator,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        options: GenerationParams,
        texts: Sequence[str] = (),
    ) -> None:
        self._engine = generator.engine
        self._cache = generator.cache
        self._pieces = generator.pieces
        if options.preserved:
            self._pieces = generator.pieces_with(options.preserved)
        self.choices: list[Choice] = []
        self._options = options
        self._cache.restore(prompts[0], options.adapters)
        for number, prompt in enumerate(prompts):
            for copy in range(options.n):
                text = texts[number] if texts else ""
                seed = (params.seed + copy) % (2**32 - 1)
                own = params.with_seed(seed) if copy else params
                self._add(generator, prompt, text, own)
        try:
            self._call: Call = self._engine.submit([choice.request for choice in self.choices])
        except BaseException:
            for choice in self.choices:
                choice.request.sampler.close()
            raise

    def _add(
        self, generator: Generator, prompt: Sequence[int], text: str, params: SamplingParams
    ) -> None:
        options, model = self._options, generator.model
        wants_logprobs = options.logprobs is not None
        assert isinstance(options.stop, StopStrings)
        builder = TextBuilder(self._pieces, options.stop, wants_logprobs or options.sampling_trace)
        constraint = lazy = None
        if options.grammar is not None and options.triggers is not None:
            lazy = LazyGrammar(model, options.grammar, options.triggers)
        elif options.grammar is not None:
            constraint = begun(model, options.grammar, options.grammar_prefix)
        thinking = None
        if options.thoughts is not None:
            thinking = Thinking(model.vocab, options.thoughts, options.thinking)
        choice = Choice(len(self.choices), prompt, text, builder, lazy, thinking)
        choice.tells_progress = options.service.return_progress
        max_tokens = options.max_tokens
        choice.request = Request(
            prompt,
            token_sampler(params, model, constraint=constraint, history=prompt),
            choice,
            2**31 if max_tokens is None or max_tokens < 0 else max_tokens,
            logprobs=TopLogprobs(model.n_vocab, min(options.logprobs or 0, model.n_vocab))
            if wants_logprobs
            else None,
            prompt_logprobs=wants_logprobs and options.echo,
            processor=options.logits_processor,
            stopping=options.stopping_criteria,
            spans=None if options.adapters is None else spans_of(prompt, options.adapters),
            terms=options.service.terms,
            traces=options.sampling_trace,
        )
        if thinking is not None:
            choice.request.forced.extend(thinking.end())
        self.choices.append(choice)

    def finish(self) -> None:
        """Wait until all texts are written.

        Raises:
            Exception: What a processor, a criterion or the engine raised.
        """
        try:
            self._engine.wait(self._call, until_finished=True)
        except BaseException:
            self.close()
            raise
        for choice in self.choices:
            if choice.request.error is not None:
                raise choice.request.error
        self._cache.save()

    @property
    def is_ready(self) -> bool:
        """Whether there is a part to take, or the texts are finished."""
        return self._call.is_ready()

    @property
    def first_token_time(self) -> float | None:
        """When the first token of all was chosen, by ``time.monotonic``."""
        times = [choice.request.first_token_time for choice in self.choices]
        return min((each for each in times if each is not None), default=None)

    @property
    def end_time(self) -> float | None:
        """When the last text ended, by ``time.monotonic``; None while one is being written."""
        times = [choice.request.end_time for choice in self.choices]
        ended = [each for each in times if each is not None]
        return max(ended) if len(ended) == len(times) else None

    @property
    def queue_seconds(self) -> float | None:
        """How long the text that was begun first waited for a slot; None while all wait."""
        requests = [choice.request for choice in self.choices]
        times = [each.admit_time - each.submit_time for each in requests if each.admit_time]
        return min(times, default=None)

    @property
    def n_generated(self) -> int:
        """The tokens of all texts so far."""
        return sum(choice.request.n_generated for choice in self.choices)

    def want_all(self) -> None:
        """Be ready when all is written, and not before."""
        self._call.wants_all = True

    @property
    def is_finished(self) -> bool:
        """Whether all texts are written."""
        return not self._call.n_running

    def parts(
        self, *, patient: bool = True
    ) -> GeneratorType[tuple[Choice, str, list[TokenRecord]] | Progress | None, None, None]:
        """Yield texts as they come; a choice that ended comes once more, with nothing.

        How much of the prompts is computed comes before, where that was asked for.

        Args:
            patient: Whether to wait for texts; else None comes where there is none yet.

        Raises:
            Exception: What a processor, a criterion or the engine raised.
        """
        try:
            while not all(choice.reported for choice in self.choices):
                if patient:
                    self._engine.wait(self._call)
                elif not self._call.is_ready():
                    yield None
                    continue
                for choice in self.choices:
                    is_finished = choice.request.finished  # before its last part is looked for
                    if choice.has_progress:
                        yield Progress(choice, choice.progress())
                    while choice.builder.parts:
                        text, records = choice.builder.parts.popleft()
                        yield choice, text, records
                    if is_finished and not choice.reported:
                        if choice.request.error is not None:
                            raise choice.request.error
                        choice.reported = True
                        yield choice, "", []
            self._cache.save()
        finally:
            self.close()

    def close(self) -> None:
        """Stop writing; the slots are free for others at once."""
        self._engine.cancel(self._call)

    @property
    def usage(self) -> CompletionUsage:
        """The tokens of all prompts and choices so far."""
        requests = [choice.request for choice in self.choices]
        prompt = sum(len(choice.prompt) for choice in self.choices[:: self._options.n])
        completion = sum(request.n_generated for request in requests)
        usage: CompletionUsage = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {
                "cached_tokens": sum(request.n_reused for request in requests[:: self._options.n])
            },
        }
        details: CompletionTokensDetails = {}
        if drafted := sum(request.n_drafted for request in requests):
            accepted = sum(request.n_accepted for request in requests)
            details["accepted_prediction_tokens"] = accepted
            details["rejected_prediction_tokens"] = drafted - accepted
        thinking = [choice.thinking for choice in self.choices if choice.thinking is not None]
        if thinking:
            details["reasoning_tokens"] = sum(each.n_tokens for each in thinking)
        if details:
            usage["completion_tokens_details"] = details
        return usage

    @property
    def timings(self) -> Timings:
        """How long all texts took so far."""
        return timings_of([choice.request for choice in self.choices])

    def logprobs(self, records: Sequence[TokenRecord], base: int) -> CompletionLogprobs | None:
        """Shape log-probabilities as OpenAI does.

        Args:
            records: The tokens.
            base: Characters of the text that come before the first generated one.
        """
        if self._options.logprobs is None:
            return None
        name = self._pieces.name
        return {
            "text_offset": [base + record.offset for record in records],
            "token_logprobs": [record.logprob for record in records],
            "tokens": [name(record.token) for record in records],
            "top_logprobs": [
                None if record.top is None else _named(record, name) for record in records
            ],
        }

    def traced(self, records: Sequence[TokenRecord]) -> dict[str, list[list[SamplingTraceStage]]]:
        """What a choice tells of how these tokens were chosen: nothing where nobody asked."""
        if not self._options.sampling_trace:
            return {}
        name = self._pieces.name
        traces: list[list[SamplingTraceStage]] = [
            [
                {
                    "sampler": stage.sampler,
                    "n_candidates": stage.n_candidates,
                    "candidates": [
                        {"token": name(token), "id": token, "logprob": logprob}
                        for token, logprob in stage.candidates
                    ],
                }
                for stage in record.trace
            ]
            for record in records
            if record.trace is not None
        ]
        return {"sampling_trace": traces}

    def chat_logprob(self, record: TokenRecord) -> dict[str, Any]:
        """Shape the log-probability of a token as OpenAI's chats do."""
        piece, name = self._pieces[record.token][0], self._pieces.name(record.token)
        top = [
            {"token": self._pieces.name(token), "logprob": logprob,
             "bytes": list(self._pieces[token][0])}
            for token, logprob in record.top or ()
        ]  # fmt: skip
        return {
            "token": name, "logprob": record.logprob, "bytes": list(piece), "top_logprobs": top,
        }  # fmt: skip

    def echoed(self, choice: Choice) -> list[TokenRecord]:
        """The tokens of the prompt, with the places of their texts."""
        lengths = [len(self._pieces.name(record.token)) for record in choice.prompt_records]
        # Some tokenizers put a space in front, which is in the first token and not in the text.
        added = max(0, sum(lengths) - len(choice.prompt_text))
        ends = itertools.accumulate(lengths, initial=0)
        return [
            record._replace(offset=max(0, end - added))
            for record, end in zip(choice.prompt_records, ends, strict=False)
        ]


def _named(record: TokenRecord, name: Callable[[int], str]) -> dict[str, float]:
    named: dict[str, float] = {}
    for token, logprob in record.top or ():
        named.setdefault(name(token), logprob)  # of tokens that read alike the likelier one
    if record.logprob is not None:
        named.setdefault(name(record.token), record.logprob)
    return named
