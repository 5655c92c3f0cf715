"""Tools for models whose template knows nothing of them, as text in the system message.

The form of the calls is that of Hermes and Qwen: JSON between ``<tool_call>`` tags.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ..generation.params import GenerationParams
from ..handles import Vocab
from .conversation import LoadedTemplate, TemplateConversation
from .messages import ReplyForm, text_of
from .reply import Parser
from .special_text import SpecialTexts

_DESCRIPTION = (
    "You may call these tools, each of which is given with a schema of its arguments:\n<tools>\n",
    "</tools>",
)
_INSTRUCTIONS = """

To call one, answer with its name and its arguments as JSON between tags, and with nothing else:
<tool_call>
{"name": "the_tool", "arguments": {"an_argument": "its value"}}
</tool_call>
Its result then comes between <tool_response> tags."""

_TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- BEFORE }}
    {%- for tool in tools %}{{- (tool.function | tojson) + '\\n' }}{%- endfor %}
    {{- AFTER + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- set content = message.content or '' %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if message.reasoning_content %}
            {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- content }}
        {%- for tool_call in message.tool_calls or [] %}
            {%- if content or not loop.first %}{{- '\\n' }}{%- endif %}
            {{- '<tool_call>\\n{"name": ' + (tool_call.function.name | tojson) }}
            {{- ', "arguments": ' }}
            {{- tool_call.function.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + content }}
        {{- '\\n</tool_response><|im_end|>\\n' }}
    {%- elif not (tools and loop.first and message.role == 'system') %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if begins_with_a_thought %}{{- '<think>\\n' }}{%- endif %}
{%- endif %}
"""

GENERIC_TEMPLATE = _TEMPLATE.replace("BEFORE", json.dumps(_DESCRIPTION[0])).replace(
    "AFTER", json.dumps(_DESCRIPTION[1] + _INSTRUCTIONS)
)
"""ChatML with such tools."""


def with_tools_described(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], *, how_to_call: bool
) -> list[Mapping[str, Any]]:
    """Tell in the system message what tools there are.

    Args:
        messages: Checked messages.
        tools: The tools.
        how_to_call: Whether to tell the form of the calls too.
    """
    listed = "".join(json.dumps(tool["function"], ensure_ascii=False) + "\n" for tool in tools)
    text = _DESCRIPTION[0] + listed + _DESCRIPTION[1] + (_INSTRUCTIONS if how_to_call else "")
    first = messages[0]
    if first["role"] not in ("system", "developer"):
        return [{"role": "system", "content": text}, *messages]
    content = first["content"]
    told = f"{content}\n\n{text}" if isinstance(content, str) else [*content, _part("\n\n" + text)]
    return [{**first, "content": told}, *messages[1:]]


def with_tools_as_text(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Write tools, calls and results into the contents of messages."""
    return [_in_text(each) for each in with_tools_described(messages, tools, how_to_call=True)]


def generic_reply(
    vocab: Vocab,
    form: ReplyForm,
    options: Mapping[str, Any],
    *,
    thinks: bool = False,
    begins_with_a_thought: bool = False,
) -> TemplateConversation:
    """Make what has the grammar and the parser of such calls; its prompt is nothing to continue.

    Args:
        vocab: The model's vocabulary.
        form: What the reply has to look like.
        options: Further ones of ``ChatTemplates.apply``.
        thinks: Whether the model's own template knows of thoughts in ``<think>``.
        begins_with_a_thought: Whether the prompt has ``<think>`` at its end.
    """
    generic = _generic_template()
    question = [{"role": "user", "content": ""}]
    kwargs = {"begins_with_a_thought": begins_with_a_thought}
    options = {**options, "chat_template_kwargs": kwargs}
    if not thinks and not begins_with_a_thought:
        options["enable_thinking"] = False
    return TemplateConversation(generic, vocab, question, form, options)


@cache
def _generic_template() -> LoadedTemplate:
    return LoadedTemplate(GENERIC_TEMPLATE)


class ToolsInText:
    """A conversation with tools by a template that has no place for them.

    Args:
        template: The model's.
        vocab: The model's vocabulary.
        messages: Checked messages.
        form: What the reply has to look like; it has tools.
        options: Further ones of ``ChatTemplates.apply``.
        special_texts: See ``TemplateConversation``.

    Raises:
        ChatTemplateError: The template does not take the messages.
    """

    def __init__(
        self,
        template: LoadedTemplate,
        vocab: Vocab,
        messages: Sequence[Mapping[str, Any]],
        form: ReplyForm,
        options: Mapping[str, Any],
        special_texts: SpecialTexts | None,
    ) -> None:
        self._told = TemplateConversation(
            template, vocab, with_tools_as_text(messages, form.tools), ReplyForm(),
            options, special_texts,
        )  # fmt: skip
        begins = self._told.generation_prompt.rstrip().endswith("<think>")
        thinks = self._told.thinking_start_tag == "<think>"
        self._reply = generic_reply(
            vocab, form, options, thinks=thinks, begins_with_a_thought=begins
        )
        self.prompt = self._told.prompt

    def options(self, options: GenerationParams) -> GenerationParams:
        """Add stops, a grammar and special tokens to a request's options."""
        return self._reply.options(self._told.options(options))

    def parser(self) -> Parser:
        """Make what reads one reply."""
        return self._reply.parser()


def _in_text(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message with its calls, or the result that it is, as text."""
    content = message["content"]
    if message["role"] == "tool":
        response = f"<tool_response>\n{text_of(content)}\n</tool_response>"
        return {"role": "user", "content": response}
    if not (calls := message.get("tool_calls")):
        return message
    texts = [_call_text(call["function"]) for call in calls]
    if isinstance(content, str):
        content = "\n".join(filter(None, [content, *texts]))
    else:
        content = [*content, _part("\n".join(texts))]
    kept = {name: value for name, value in message.items() if name != "tool_calls"}
    return {**kept, "content": content}


def _call_text(function: Mapping[str, Any]) -> str:
    arguments = function.get("arguments") or "{}"
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    name = json.dumps(function["name"], ensure_ascii=False)
    return f'<tool_call>\n{{"name": {name}, "arguments": {arguments}}}\n</tool_call>'


def _part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
