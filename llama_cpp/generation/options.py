"""The arguments that methods of ``Llama`` take, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, Union

from ..constraints.gbnf import LlamaGrammar
from ..sampling.hooks import LogitsProcessor, StoppingCriteria
from ..sampling.options import SamplingOptions

Stop: TypeAlias = str | list[str] | None
LogitsProcessors: TypeAlias = Union[LogitsProcessor, list[LogitsProcessor], None]  # noqa: UP007 - of names in quotes
StoppingCriterias: TypeAlias = Union[StoppingCriteria, list[StoppingCriteria], None]  # noqa: UP007


class GenerationOptions(SamplingOptions, total=False):
    """Arguments of completions and chats."""

    stop: Stop
    max_tokens: int | None
    grammar: LlamaGrammar | str | None
    logits_processor: LogitsProcessors
    n: int
    model: str | None
    stream_options: Mapping[str, Any] | None
    lora: Mapping[str, float] | None


class CompletionOptions(GenerationOptions, total=False):
    """Arguments of ``create_completion``, but for ``prompt`` and ``stream``."""

    suffix: str | None
    logprobs: int | None
    echo: bool
    stopping_criteria: StoppingCriterias
