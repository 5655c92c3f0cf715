"""The arguments that methods of ``Llama`` take, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict, Union

from ..constraints.constraint import Constraint
from ..constraints.gbnf import LlamaGrammar
from ..sampling.hooks import LogitsProcessor, StoppingCriteria
from ..sampling.options import FurtherSamplingOptions, SamplingOptions
from ..structured.shape import TypeOrSchema

Stop: TypeAlias = str | list[str] | None
LogitsProcessors: TypeAlias = Union[LogitsProcessor, list[LogitsProcessor], None]  # noqa: UP007 - of names in quotes
StoppingCriterias: TypeAlias = Union[StoppingCriteria, list[StoppingCriteria], None]  # noqa: UP007


class GenerationExtras(TypedDict, total=False):
    """Arguments of completions and chats that llama-cpp-python lacks.

    Attributes:
        regex: A regular expression that the whole text matches.
        choices: The texts that it may be.
        lark: A grammar that it follows, in llguidance's variant of Lark.
    """

    regex: str | None
    choices: Sequence[str] | None
    lark: str | None


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
