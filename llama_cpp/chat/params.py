"""``ChatParams``: the parameters of ``create_chat_completion``, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..constraints.constraint import Constraint, constraint_of
from ..constraints.gbnf import LlamaGrammar
from ..errors import InvalidArgumentError
from ..generation.params import GenerationParams, includes_usage, sampling_of
from ..generation.service import ServiceParams
from ..generation.thinking import ThinkingLimit
from ..sampling.options import check_names
from ..sampling.params import SamplingParams
from ..structured.shape import Shape
from .messages import ReplyForm, reply_form
from .options import ChatOptions, ToolChoice, Tools

TEMPERATURE = 0.2
"""That of chats, as in llama-cpp-python."""

REASONING_FORMATS = ("none", "auto", "deepseek", "deepseek-legacy")
"""Where thoughts go; all but the first put them into ``reasoning_content``."""

_ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "enable_thinking": (True, False, None),
    "reasoning_format": REASONING_FORMATS,
    "continue_final_message": (True, False, None, "content", "reasoning_content"),
}


@dataclass(frozen=True)
class ChatParams:
    """How to answer a conversation: ``Llama.create_chat_completion`` describes each.

    Attributes:
        sampling: How tokens are chosen.
        generation: What the replies have to be.
        include_usage: Whether a last chunk without choices tells the usage.
        shape: What the replies mean, where ``response_format`` is a type or a JSON schema.
    """

    sampling: SamplingParams = field(
        default_factory=lambda: SamplingParams(temperature=TEMPERATURE)
    )
    generation: GenerationParams = field(default_factory=lambda: GenerationParams(max_tokens=None))
    functions: Tools = None
    function_call: ToolChoice = None
    tools: Tools = None
    tool_choice: ToolChoice = None
    response_format: Mapping[str, Any] | None = None
    grammar: LlamaGrammar | str | Constraint | None = None
    top_logprobs: int | None = None
    model: str | None = None
    include_usage: bool = False
    lora: Mapping[str, float] | None = None
    parallel_tool_calls: bool | None = None
    enable_thinking: bool | None = None
    reasoning_format: str = "auto"
    continue_final_message: bool | Literal["content", "reasoning_content"] | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    parse_special: bool = False
    thinking_budget: int | None = None
    thinking_end_message: str | None = None
    reasoning_effort: str | None = None
    thinking: ThinkingLimit = field(init=False)
    shape: Shape | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.chat_template_kwargs, Mapping):
            raise InvalidArgumentError(
                f"chat_template_kwargs={self.chat_template_kwargs!r} must be a dict"
            )
        limit = ThinkingLimit(
            self.thinking_budget, self.thinking_end_message, self.reasoning_effort
        )
        object.__setattr__(self, "thinking", limit)
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise InvalidArgumentError(
                    f"{name}={getattr(self, name)!r} must be one of {', '.join(map(str, allowed))}"
                )
        # Clients that fill in every field send 0 for none.
        if self.top_logprobs and self.generation.logprobs is None:
            raise InvalidArgumentError("top_logprobs needs logprobs=True")

    @classmethod
    def of(cls, options: ChatOptions) -> ChatParams:
        """Check the arguments of a call.

        Raises:
            TypeError: A name is unknown.
            InvalidArgumentError: A value is out of range, or they contradict each other.
        """
        check_names(options, ChatOptions.__annotations__)
        options = {"temperature": TEMPERATURE, **options}
        n_tokens = options.get("max_completion_tokens")
        response_format = options.get("response_format")
        shape = Shape.of_response_format(response_format)
        return cls(
            sampling_of(options),
            GenerationParams(
                options.get("max_tokens") if n_tokens is None else n_tokens,
                options.get("stop"),
                (options.get("top_logprobs") or 0) if options.get("logprobs") else None,
                n=options.get("n", 1),
                logits_processor=options.get("logits_processor"),
                service=ServiceParams.of(options),
                sampling_trace=options.get("sampling_trace", False),
            ),
            functions=options.get("functions"),
            function_call=options.get("function_call"),
            tools=options.get("tools"),
            tool_choice=options.get("tool_choice"),
            response_format=response_format if shape is None else shape.response_format,
            grammar=constraint_of(
                grammar=options.get("grammar"),
                regex=options.get("regex"),
                choices=options.get("choices"),
                lark=options.get("lark"),
            ),
            top_logprobs=options.get("top_logprobs"),
            model=options.get("model"),
            include_usage=includes_usage(options),
            lora=options.get("lora"),
            parallel_tool_calls=options.get("parallel_tool_calls"),
            enable_thinking=options.get("enable_thinking"),
            reasoning_format=options.get("reasoning_format") or "auto",
            continue_final_message=options.get("continue_final_message"),
            chat_template_kwargs=options.get("chat_template_kwargs") or {},
            parse_special=options.get("parse_special", False),
            thinking_budget=options.get("thinking_budget"),
            thinking_end_message=options.get("thinking_end_message"),
            reasoning_effort=options.get("reasoning_effort"),
            shape=shape,
        )

    @property
    def is_legacy(self) -> bool:
        """Whether calls are told as ``function_call``, OpenAI's older form."""
        return self.functions is not None and self.tools is None

    @property
    def has_tools(self) -> bool:
        """Whether the model may be told of tools."""
        return bool(self.tools or self.functions)

    def reply_form(self) -> ReplyForm:
        """What the reply may, or has to, consist of.

        Raises:
            InvalidArgumentError: The parameters that say so contradict each other.
            GrammarError: The grammar or the schema cannot be used.
        """
        return reply_form(
            tools=self.tools, tool_choice=self.tool_choice, functions=self.functions,
            function_call=self.function_call, parallel_tool_calls=self.parallel_tool_calls,
            response_format=self.response_format, grammar=self.grammar,
        )  # fmt: skip

    def template_options(self, *, thinks_by_default: bool) -> dict[str, Any]:
        """What goes to the template; whether to think is left to it where nobody says so."""
        thinks = self.enable_thinking
        variables = dict(self.chat_template_kwargs)
        if thinks is None and "enable_thinking" not in variables:
            wanted = thinks_by_default or self.reasoning_effort is not None
            thinks = wanted and not self.thinking.is_none
        if self.reasoning_effort not in (None, "none"):
            variables.setdefault("reasoning_effort", self.reasoning_effort)
        return {
            "enable_thinking": thinks,
            "reasoning_format": self.reasoning_format,
            "continue_final_message": self.continue_final_message,
            "chat_template_kwargs": variables or None,
        }
