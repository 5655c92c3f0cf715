"""The arguments that ``create_chat_completion`` takes, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from ..generation.options import GenerationExtras, GenerationOptions
from ..sampling.options import FurtherSamplingOptions
from ..structured.shape import TypeOrSchema

Messages: TypeAlias = Sequence[Mapping[str, Any]]
Tools: TypeAlias = Sequence[Mapping[str, Any]] | None
ToolChoice: TypeAlias = str | Mapping[str, Any] | None


class ChatExtras(GenerationExtras, total=False):
    """Arguments of ``create_chat_completion`` that llama-cpp-python lacks.

    Attributes:
        thinking_budget: How many tokens of a reply may be thoughts; then what ends a thought in the
            model's template is written for the model. 0: none, so that a template that can be told
            not to think is told. None or -1: any number.
        thinking_end_message: What a thought that the budget ends is to end with.
        reasoning_effort: "none", "minimal", "low", "medium", "high", "xhigh" or "max": whether and
            how much to think. A template that knows efforts is told; for others it is a budget of
            0, 512, 1024, 8192 or 24576 tokens, and none for the last two.
    """

    thinking_budget: int | None
    thinking_end_message: str | None
    reasoning_effort: str | None


class FurtherChatOptions(FurtherSamplingOptions, ChatExtras, total=False):
    """What ``create_chat_completion`` takes by name only."""


class ReplyOptions(GenerationOptions, ChatExtras, total=False):
    """Arguments of ``create_chat_completion`` that do not say what can be called."""

    tool_choice: ToolChoice
    response_format: TypeOrSchema
    logprobs: bool | None
    top_logprobs: int | None
    max_completion_tokens: int | None
    parallel_tool_calls: bool | None
    enable_thinking: bool | None
    reasoning_format: str | None
    continue_final_message: bool | Literal["content", "reasoning_content"] | None
    chat_template_kwargs: Mapping[str, Any] | None
    parse_special: bool


class ChatOptions(ReplyOptions, total=False):
    """Arguments of ``create_chat_completion``, but for ``messages`` and ``stream``."""

    functions: Tools
    function_call: ToolChoice
    tools: Tools
