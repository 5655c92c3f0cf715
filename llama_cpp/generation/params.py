"""The parameters of a call, checked: what travels from a method of ``Llama`` to the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ..constraints.constraint import Constraint, constraint_of
from ..constraints.gbnf import LlamaGrammar
from ..engine.adapter_spans import AdapterSet
from ..errors import InvalidArgumentError
from ..sampling.hooks import LogitsProcessorList, StoppingCriteriaList
from ..sampling.options import SamplingOptions, check_names
from ..sampling.params import SamplingParams
from ..structured.shape import Shape
from ..structured.streams import ReplyTexts
from ..text import StopStrings, ThoughtTags, Triggers
from ..validation.numbers import integer
from .options import CompletionOptions, GenerationOptions
from .service import ServiceParams
from .thinking import ThinkingLimit

LOGPROBS_MAX = 100
"""How many of the likeliest tokens can be asked for."""


@dataclass(frozen=True)
class GenerationParams:
    """What a text has to be, besides how its tokens are chosen.

    Attributes:
        max_tokens: How many tokens at most; None or negative: until the context is full.
        stop: Texts that end the completion.
        logprobs: How many likeliest tokens to tell with each token; None tells nothing.
        echo: Whether the prompt is part of the text.
        n: How many completions of each prompt.
        grammar: What the text has to look like.
        logits_processor: Changes logits before a token is chosen.
        stopping_criteria: Says when to stop.
        triggers: What the grammar counts from on; None: from the start.
        grammar_prefix: Tokens at the end of the prompt that the grammar covers too.
        preserved: Special tokens that are part of the text.
        adapters: What the tokens are computed with; None: those of the model.
        service: How the call is served.
        sampling_trace: Whether to tell how each token was chosen.
        thoughts: How the text writes thoughts; None: it has none.
        thinking: How much of it may be thoughts.
    """

    max_tokens: int | None = 16
    stop: str | Sequence[str] | StopStrings | None = ()
    logprobs: int | None = None
    echo: bool = False
    n: int = 1
    grammar: LlamaGrammar | str | Constraint | None = None
    logits_processor: Any = None
    stopping_criteria: Any = None
    triggers: Triggers | None = None
    grammar_prefix: Sequence[int] = ()
    preserved: frozenset[int] = frozenset()
    adapters: AdapterSet | None = None
    service: ServiceParams = field(default_factory=ServiceParams)
    sampling_trace: bool = False
    thoughts: ThoughtTags | None = None
    thinking: ThinkingLimit = field(default_factory=ThinkingLimit)

    def with_stops(self, more: Sequence[str]) -> GenerationParams:
        """Add stop strings."""
        assert isinstance(self.stop, StopStrings)
        return replace(self, stop=[*self.stop.stops, *more]) if more else self

    def with_adapters(self, adapters: AdapterSet | None) -> GenerationParams:
        """Add what the tokens are computed with."""
        return self if adapters is None else replace(self, adapters=adapters)

    def __post_init__(self) -> None:
        if not isinstance(self.stop, StopStrings):
            stops = [self.stop] if isinstance(self.stop, str | bytes) else self.stop or ()
            if not isinstance(stops, Iterable):
                raise InvalidArgumentError(f"stop={stops!r} must be a text, or a list of texts")
            # Scripts give an empty one for none.
            self._set("stop", StopStrings(stop for stop in stops if stop not in ("", b"")))
        if self.max_tokens is not None:
            self._set("max_tokens", integer("max_tokens", self.max_tokens, -(2**31), 2**31 - 1))
        if self.logprobs is not None:
            self._set("logprobs", integer("logprobs", self.logprobs, 0, LOGPROBS_MAX))
        self._set("n", integer("n", self.n, 1, 128))
        self._set("logits_processor", _as_list(self.logits_processor, LogitsProcessorList))
        self._set("stopping_criteria", _as_list(self.stopping_criteria, StoppingCriteriaList))
        constraint_of(grammar=self.grammar)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True)
class CompletionParams:
    """The parameters of ``create_completion``.

    Attributes:
        sampling: How tokens are chosen.
        generation: What the texts have to be.
        suffix: What comes after the text to write.
        model: What the result says the model is; None says its path.
        include_usage: Whether a last chunk without choices tells the usage.
        lora: Scales of LoRA adapters by name; None takes those of the model.
        shape: What the text means, where the call was given a type.
        schema: What it satisfies; None where no schema was given, or as a text.
    """

    sampling: SamplingParams = field(default_factory=SamplingParams)
    generation: GenerationParams = field(default_factory=GenerationParams)
    suffix: str | None = None
    model: str | None = None
    include_usage: bool = False
    lora: Mapping[str, float] | None = None
    shape: Shape | None = None
    schema: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.suffix, str | None):
            raise InvalidArgumentError(f"suffix={self.suffix!r} must be a text")
        if self.generation.service.overflow == "trim":
            raise InvalidArgumentError(
                "overflow='trim' drops turns of a conversation, and a completion has none: give "
                "'error' or 'shift'"
            )

    @classmethod
    def of(cls, options: CompletionOptions) -> CompletionParams:
        """Check the arguments of a call.

        Raises:
            TypeError: A name is unknown.
            InvalidArgumentError: A value is out of range.
        """
        check_names(options, CompletionOptions.__annotations__)
        shape, schema = None, options.get("schema")
        if not isinstance(schema, Mapping | str | bool | None):
            shape = Shape.of(schema)
            options = {**options, "schema": shape.schema}
        return cls(
            sampling_of(options),
            GenerationParams(
                grammar=constraint_of(**_picked(options, _CONSTRAINTS)),
                service=ServiceParams.of(options),
                **_picked(options, _OF_GENERATION),
            ),
            suffix=options.get("suffix"),
            model=options.get("model"),
            include_usage=includes_usage(options),
            lora=options.get("lora"),
            shape=shape,
            schema=schema if isinstance(schema, Mapping) else None,
        )

    def texts(self) -> ReplyTexts:
        """Make what keeps the texts of a stream."""
        return ReplyTexts(self.shape, self.schema)


_OF_GENERATION = (
    "max_tokens", "stop", "logprobs", "echo", "n", "logits_processor", "stopping_criteria",
    "sampling_trace",
)  # fmt: skip
_CONSTRAINTS = ("grammar", "schema", "regex", "choices", "lark")


def sampling_of(options: GenerationOptions) -> SamplingParams:
    """The sampling parameters among the arguments of a call."""
    names = SamplingOptions.__annotations__
    return SamplingParams.of(cast("SamplingOptions", _picked(options, names)))


def _picked(options: GenerationOptions, names: Iterable[str]) -> dict[str, Any]:
    given: Mapping[str, Any] = options
    return {name: given[name] for name in names if name in given}


def includes_usage(options: GenerationOptions) -> bool:
    """Whether ``stream_options`` asks for the usage."""
    return bool((options.get("stream_options") or {}).get("include_usage"))


def _as_list(hooks: Any, kind: Any) -> Any:
    if hooks is None or (isinstance(hooks, list | tuple) and not hooks):
        return None
    listed = hooks if isinstance(hooks, list | tuple) else [hooks]
    if not all(map(callable, listed)):
        raise InvalidArgumentError(
            f"logits processors and stopping criteria must be callable, and {hooks!r} is not"
        )
    return hooks if isinstance(hooks, kind) else kind(listed)
