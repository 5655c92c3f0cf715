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
    """Arguments of ``create_chat_completion`` that llama-cpp-python lacks."""


class FurtherChatOptions(FurtherSamplingOptions, ChatExtras, total=False):
    """What ``create_chat_completion`` takes by name only."""


class ChatOptions(GenerationOptions, ChatExtras, total=False):
    """Arguments of ``create_chat_completion``, but for ``messages`` and ``stream``."""

    functions: Tools
    function_call: ToolChoice
    tools: Tools
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
