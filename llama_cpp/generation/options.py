"""The arguments that methods of ``Llama`` take, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypedDict, Union

from ..constraints.constraint import Constraint
from ..constraints.gbnf import LlamaGrammar
from ..sampling.hooks import AnyLogitsProcessor, StoppingCriteria
from ..sampling.options import FurtherSamplingOptions, SamplingOptions
from ..structured.shape import TypeOrSchema

Stop: TypeAlias = str | list[str] | None
LogitsProcessors: TypeAlias = Union[AnyLogitsProcessor, Sequence[AnyLogitsProcessor], None]  # noqa: UP007 - of names in quotes
StoppingCriterias: TypeAlias = Union[StoppingCriteria, list[StoppingCriteria], None]  # noqa: UP007


class ServiceOptions(TypedDict, total=False):
    """Arguments about how a call is served.

    Attributes:
        timeout: Seconds from the call on, waiting for a sequence included, after which the text
            ends with what it has, and the finish reason ``"timeout"``.
        deadline: The same as a point in time: a ``datetime``, or seconds since the epoch, as
            ``time.time()`` gives them. The earlier one of both counts.
        priority: Calls of a higher one come first, and take the sequence of a lower one where none
            is free; that one goes on later, with the same text. 0 where nothing is said.
        timings: Whether the result, or the last chunk of a stream, tells in ``timings`` how long
            the call took, as llama-server does: see ``llama_types.Timings``.
        timings_per_token: Whether each chunk of a stream tells that.
        return_progress: Whether chunks come while the prompt is computed that tell how far it is,
            in ``prompt_progress``.
        overflow: What to do where the context is full. ``"error"``: a prompt that does not fit is
            an error, and a text ends (``"length"``). ``"shift"``: a text goes on without its older
            half. ``"trim"``, of chats: the oldest turns of the conversation are left out, until
            it fits together with ``max_tokens`` (half of the context at most; without
            ``max_tokens`` a quarter of it); ``trimmed_messages`` of the result, or of the first
            chunk, has the places of the messages that were dropped. Neither system messages nor
            the last turn are. None: ``context_shift`` of the model counts.
    """

    timeout: float | None
    deadline: float | datetime | None
    priority: int | None
    timings: bool | None
    timings_per_token: bool | None
    return_progress: bool | None
    overflow: Literal["error", "shift", "trim"] | None


class GenerationExtras(ServiceOptions, total=False):
    """Arguments of completions and chats that llama-cpp-python lacks.

    Attributes:
        regex: A regular expression that the whole text matches.
        choices: The texts that it may be.
        lark: A grammar that it follows, in llguidance's variant of Lark.
        sampling_trace: Whether ``choice["sampling_trace"]`` tells how each token was chosen: what
            every sampler left, and the 20 likeliest of it. For debugging: a token then costs
            some 10 ms more with a vocabulary of 128,000, without drafts or tokens in advance.
    """

    regex: str | None
    choices: Sequence[str] | None
    lark: str | None
    sampling_trace: bool


class CompletionExtras(GenerationExtras, total=False):
    """Arguments of ``create_completion`` that llama-cpp-python lacks.

    Attributes:
        schema: A JSON schema that the text satisfies, or a type whose JSON it is: see
            ``TypeOrSchema``. With a type, each choice has ``parsed``.
    """

    schema: TypeOrSchema


class FurtherCompletionOptions(FurtherSamplingOptions, CompletionExtras, total=False):
    """What ``create_completion`` takes by name only."""


class GenerationOptions(SamplingOptions, GenerationExtras, total=False):
    """Arguments of completions and chats."""

    stop: Stop
    max_tokens: int | None
    grammar: LlamaGrammar | str | Constraint | None
    logits_processor: LogitsProcessors
    n: int
    model: str | None
    stream_options: Mapping[str, Any] | None
    lora: Mapping[str, float] | None


class CompletionOptions(GenerationOptions, CompletionExtras, total=False):
    """Arguments of ``create_completion``, but for ``prompt`` and ``stream``."""

    suffix: str | None
    logprobs: int | None
    echo: bool
    stopping_criteria: StoppingCriterias
