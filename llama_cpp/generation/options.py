"""The arguments that methods of ``Llama`` take, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict, Union

from ..constraints.constraint import Constraint
from ..constraints.gbnf import LlamaGrammar
from ..sampling.hooks import AnyLogitsProcessor, StoppingCriteria
from ..sampling.options import FurtherSamplingOptions, SamplingOptions

Stop: TypeAlias = str | list[str] | None
LogitsProcessors: TypeAlias = Union[AnyLogitsProcessor, Sequence[AnyLogitsProcessor], None]  # noqa: UP007 - of names in quotes
StoppingCriterias: TypeAlias = Union[StoppingCriteria, list[StoppingCriteria], None]  # noqa: UP007


class GenerationExtras(TypedDict, total=False):
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
        schema: A JSON schema that the text satisfies.
    """

    schema: Mapping[str, Any] | str | None


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
