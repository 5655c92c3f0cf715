"""The named chat formats of older models, as data: what stands around each message.

A format is for a model whose file has no template, or a wrong one. Most are what the model's own
card says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..generic_tools import GENERIC_TEMPLATE

_TURNS = """\
{%- set ns = namespace(system=DEFAULT_SYSTEM) -%}
{%- for message in messages if message.role == 'system' -%}
{%- set ns.system = message.content if loop.first else ns.system + '\\n\\n' + message.content -%}
{%- endfor -%}
{{- BEGIN -}}
{%- if ns.system and not SYSTEM_IN_USER -%}{{- SYSTEM_0 + ns.system + SYSTEM_1 -}}{%- endif -%}
{%- for message in messages if message.role != 'system' -%}
{%- if message.role == 'assistant' -%}
{{- ASSISTANT_0 + (message.content or '') + ASSISTANT_1 -}}
{%- else -%}
{{- USER_0 -}}
{%- if loop.first and ns.system and SYSTEM_IN_USER -%}
{{- SYSTEM_0 + ns.system + SYSTEM_1 -}}
{%- endif -%}
{{- message.content + USER_1 -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- REPLY -}}{%- endif -%}
"""


@dataclass(frozen=True)
class ChatFormat:
    """A named format.

    Attributes:
        template: In Jinja.
        stops: What ends a reply besides the model's own end.
    """

    template: str
    stops: tuple[str, ...] = ()


def _turns(
    *,
    system: tuple[str, str],
    user: tuple[str, str],
    assistant: tuple[str, str],
    reply: str | None = None,
    begin: str = "",
    stops: tuple[str, ...] = (),
    default_system: str = "",
    system_in_user: bool = False,
) -> ChatFormat:
    """A format with texts before and after each message.

    Args:
        system: Before and after the system message.
        user: Before and after what the user says.
        assistant: Before and after a reply.
        reply: Begins the reply to write; None: what comes before a reply.
        begin: Begins the prompt.
        stops: End a reply.
        default_system: The system message where there is none.
        system_in_user: Whether the system message stands in the first one of the user.
    """
    texts = {
        "DEFAULT_SYSTEM": default_system, "BEGIN": begin,
        "SYSTEM_0": system[0], "SYSTEM_1": system[1],
        "USER_0": user[0], "USER_1": user[1],
        "ASSISTANT_0": assistant[0], "ASSISTANT_1": assistant[1],
        "REPLY": assistant[0] if reply is None else reply,
    }  # fmt: skip
    template = _TURNS.replace("SYSTEM_IN_USER", "true" if system_in_user else "false")
    for name, text in texts.items():
        template = template.replace(name, json.dumps(text, ensure_ascii=False))
    return ChatFormat(template, stops)


_IM_SYSTEM = ("<|im_start|>system\n", "<|im_end|>\n")
_IM_USER = ("<|im_start|>user\n", "<|im_end|>\n")
_IM_ASSISTANT = ("<|im_start|>assistant\n", "<|im_end|>\n")

FORMATS: Mapping[str, ChatFormat] = {
    "llama-2": _turns(
        system=("<<SYS>>\n", "\n<</SYS>>\n\n"), system_in_user=True,
        user=("<s>[INST] ", " [/INST]"), assistant=(" ", " </s>"), reply="",
    ),
    "llama-3": _turns(
        begin="<|begin_of_text|>",
        system=("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
        user=("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        assistant=("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
        stops=("<|eot_id|>",),
    ),
    "alpaca": _turns(
        system=("", "\n\n"), user=("### Instruction:\n", "\n\n"),
        assistant=("### Response:\n", "</s>\n\n"), stops=("### Instruction:",),
    ),
    "qwen": _turns(
        system=_IM_SYSTEM, user=_IM_USER, assistant=_IM_ASSISTANT,
        default_system="You are a helpful assistant.",
        stops=("<|im_end|>", "<|endoftext|>"),
    ),
    "vicuna": _turns(
        default_system=(
            "A chat between a curious user and an artificial intelligence assistant. The assistant "
            "gives helpful, detailed, and polite answers to the user's questions."
        ),
        system=("", " "), user=("USER: ", " "), assistant=("ASSISTANT: ", "</s>"),
        reply="ASSISTANT:", stops=("USER:",),
    ),
    "oasst_llama": _turns(
        system=("[INST] <<SYS>>\n", "\n<</SYS>>\n\n"), user=("<|prompter|>", "</s>"),
        assistant=("<|assistant|>", "</s>"),
    ),
    "baichuan": _turns(
        system=("", ""), user=("<reserved_102>", ""), assistant=("<reserved_103>", ""),
    ),
    "baichuan-2": _turns(
        system=("", ""), user=("<reserved_106>", ""), assistant=("<reserved_107>", ""),
    ),
    "openbuddy": _turns(
        default_system="You are Buddy, a helpful and honest assistant.",
        system=("", "\n\n"), user=("User: ", "\n"), assistant=("Assistant: ", "\n"),
        reply="Assistant:", stops=("\nUser:",),
    ),
    "redpajama-incite": _turns(
        system=("", "\n"), user=("<human>: ", "\n"), assistant=("<bot>: ", "\n"),
        reply="<bot>:", stops=("<human>",),
    ),
    "snoozy": _turns(
        default_system=(
            "The prompt below is a question to answer, a task to complete, or a conversation to "
            "respond to; decide which and write an appropriate response."
        ),
        system=("### Instruction:\n", "\n"), user=("### Prompt:\n", "\n"),
        assistant=("### Response:\n", "\n"), stops=("###",),
    ),
    "phind": _turns(
        default_system="You are an intelligent programming assistant.",
        system=("### System Prompt\n", "\n\n"), user=("### User Message\n", "\n\n"),
        assistant=("### Assistant\n", "\n\n"), stops=("### User Message",),
    ),
    "intel": _turns(
        system=("### System:\n", "\n"), user=("### User:\n", "\n"),
        assistant=("### Assistant:\n", "\n"), stops=("### User:",),
    ),
    "open-orca": _turns(
        system=("", "<|end_of_turn|>\n"), user=("User: ", "<|end_of_turn|>\n"),
        assistant=("Assistant: ", "<|end_of_turn|>\n"), reply="Assistant:",
        stops=("<|end_of_turn|>",),
    ),
    "mistrallite": _turns(
        system=("<|system|>", "</s>"), user=("<|prompter|>", "</s>"),
        assistant=("<|assistant|>", "</s>"),
    ),
    "zephyr": _turns(
        system=("<|system|>\n", "</s>\n"), user=("<|user|>\n", "</s>\n"),
        assistant=("<|assistant|>\n", "</s>\n"), stops=("</s>",),
    ),
    "pygmalion": _turns(
        system=("<|system|>", ""), user=("<|user|>", ""), assistant=("<|model|>", ""),
        stops=("<|user|>",),
    ),
    "chatml": _turns(
        system=_IM_SYSTEM, user=_IM_USER, assistant=_IM_ASSISTANT, stops=("<|im_end|>",),
    ),
    "mistral-instruct": _turns(
        begin="<s>", system=("", "\n\n"), system_in_user=True,
        user=("[INST] ", " [/INST]"), assistant=("", "</s> "), reply="", stops=("</s>",),
    ),
    "chatglm3": _turns(
        system=("<|system|>\n ", ""), user=("<|user|>\n ", ""), assistant=("<|assistant|>\n ", ""),
        reply="<|assistant|>", stops=("<|user|>",),
    ),
    "openchat": _turns(
        system=("", "<|end_of_turn|>"), user=("GPT4 Correct User: ", "<|end_of_turn|>"),
        assistant=("GPT4 Correct Assistant: ", "<|end_of_turn|>"),
        reply="GPT4 Correct Assistant:", stops=("<|end_of_turn|>",),
    ),
    "saiga": _turns(
        system=("<s>system\n", "</s>\n"), user=("<s>user\n", "</s>\n"),
        assistant=("<s>bot\n", "</s>\n"), stops=("</s>",),
    ),
    "gemma": _turns(
        begin="<bos>", system=("", "\n\n"), system_in_user=True,
        user=("<start_of_turn>user\n", "<end_of_turn>\n"),
        assistant=("<start_of_turn>model\n", "<end_of_turn>\n"), stops=("<end_of_turn>",),
    ),
    "chatml-function-calling": ChatFormat(GENERIC_TEMPLATE, ("<|im_end|>",)),
}  # fmt: skip
"""By name; ``functionary`` has the formats that call functions in yet another way."""
