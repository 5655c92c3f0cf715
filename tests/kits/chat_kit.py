"""What the tests of chat templates share: templates, a tool, and replies in several formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_cpp.handles.chat_templates import ChatTemplates

ROOT = Path(__file__).parents[2]
OF_THE_ENGINE = ROOT / "vendor" / "llama.cpp" / "models" / "templates"
TINYCHAT = ROOT / "tools" / "tinychat" / "template.jinja"

WEATHER: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
ARGUMENTS = {"city": "Köln [{", "days": 2}
CALL = json.dumps({"name": "get_weather", "arguments": ARGUMENTS}, ensure_ascii=False)


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def tool(parameters: Mapping[str, Any], name: str = "f") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


QUESTION = [user("How will the weather be?")]


def source(name: str) -> str:
    path = TINYCHAT if name == "tinychat" else OF_THE_ENGINE / f"{name}.jinja"
    return path.read_text("utf-8")


def templates(name: str) -> ChatTemplates:
    return ChatTemplates(source(name), bos="<s>", eos="</s>")


def calls_of(message: Mapping[str, Any]) -> list[tuple[str, Any]]:
    functions = [call["function"] for call in message.get("tool_calls", [])]
    return [(function["name"], json.loads(function["arguments"])) for function in functions]


@dataclass(frozen=True)
class Reply:
    """What a model with this template writes, and what it means.

    Attributes:
        template: The name of the template.
        text: The reply.
        content: What the user is to see.
        thought: What was thought before, without the white space around it.
        calls: How often ``WEATHER`` is called with ``ARGUMENTS``.
        thinking: What ``enable_thinking`` was.
    """

    template: str
    text: str
    content: str = ""
    thought: str = ""
    calls: int = 0
    thinking: bool = True
    tools: bool = field(default=True)

    def __str__(self) -> str:
        return f"{self.template} {self.text[:20]!r}"

    def prompt(self) -> dict[str, Any]:
        return templates(self.template).apply(
            QUESTION,
            tools=[WEATHER] if self.tools else None,
            parallel_tool_calls=True,
            reasoning_format="auto",
            enable_thinking=self.thinking,
        )


_HERMES = f"<tool_call>\n{CALL}\n</tool_call>"
_LLAMA = CALL.replace("arguments", "parameters")
_JSON = json.dumps(ARGUMENTS, ensure_ascii=False)
_TAGGED = (
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nKöln [{\n</parameter>\n"
    "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>"
)

REPLIES = (
    Reply("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "It will rain.", "It will rain."),
    Reply("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", _HERMES, calls=1),
    Reply("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", f"Wait.{_HERMES}", "Wait.", calls=1),
    Reply("Qwen-Qwen2.5-7B-Instruct", f"{_HERMES}\n{_HERMES}", calls=2),
    Reply("Qwen-Qwen3-0.6B", "<think>\nHm.\n</think>\n\nRain.", "Rain.", "Hm."),
    Reply("Qwen-Qwen3-0.6B", f"<think>\nHm.\n</think>\n\n{_HERMES}", "", "Hm.", 1),
    Reply("Qwen-Qwen3-0.6B", "Rain.", "Rain.", thinking=False),
    Reply("Qwen3-Coder", _TAGGED, calls=1),
    Reply("meta-llama-Llama-3.1-8B-Instruct", "Rain.", "Rain."),
    Reply("meta-llama-Llama-3.1-8B-Instruct", _LLAMA, calls=1),
    Reply(
        "mistralai-Mistral-Nemo-Instruct-2407",
        f'[TOOL_CALLS][{CALL[:-1]}, "id": "abcdef123"}}]',
        calls=1,
    ),
    Reply("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "Hm.</think>Rain.", "Rain.", "Hm."),
    Reply(
        "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
        "Hm.</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"  # noqa: RUF001
        f"```json\n{_JSON}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",  # noqa: RUF001
        "", "Hm.", 1,
    ),
    Reply("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "Hm.</think>Rain.", "Rain.", "Hm."),
    Reply(
        "openai-gpt-oss-120b",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Rain.",
        "Rain.", "Hm.",
    ),
    Reply(
        "openai-gpt-oss-120b",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
        f"to=functions.get_weather <|constrain|>json<|message|>{_JSON}",
        "", "Hm.", 1,
    ),
    Reply(
        "google-gemma-4-31B-it",
        '<|tool_call>call:get_weather{city:<|"|>Köln [{<|"|>,days:2}<tool_call|>',
        calls=1,
    ),
    Reply(
        "GLM-4.6",
        "\n<think>Hm.</think>\n<tool_call>get_weather\n<arg_key>city</arg_key>\n"
        "<arg_value>Köln [{</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n"
        "</tool_call>",
        "", "Hm.", 1,
    ),
    Reply("tinychat", "Rain.", "Rain.", thinking=False),
    Reply("tinychat", "Rain <now>.", "Rain <now>.", thinking=False, tools=False),
    Reply("tinychat", _HERMES, calls=1, thinking=False),
    Reply("tinychat", f"{_HERMES}\n{_HERMES}", calls=2, thinking=False),
    Reply("tinychat", f"I look.\n{_HERMES}", "I look.\n", calls=1, thinking=False),
    Reply("tinychat", "Hm.\n</think>\n\nRain.", "Rain.", "Hm."),
    Reply("tinychat", "Hm.\n</think>\n\nRain.", "Rain.", "Hm.", tools=False),
    Reply("tinychat", f"Hm.\n</think>\n\n{_HERMES}", "", "Hm.", 1),
    Reply("tinychat", f"Hm.\n</think>\n\nI look.\n{_HERMES}", "I look.\n", "Hm.", 1),
)  # fmt: skip
