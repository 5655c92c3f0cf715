"""From an example to the text of a document, with the parts that are to be learned marked."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tools.tinychat.corpus.example import Chat, Example, Message, Text

TEMPLATE = Path(__file__).with_name("template.jinja")
END_OF_TURN = "<|im_end|>"
END_OF_TEXT = "</s>"

Segment = tuple[str, bool]
"""A piece of text, and whether the model is to learn to write it."""


def segments(example: Example) -> list[Segment]:
    """Split a document into what is given and what is learned, in order."""
    if isinstance(example, Text):
        return [(example.prompt, False), (example.reply + END_OF_TEXT, True)]
    whole = _render(example, example.messages, ask=False)
    parts: list[Segment] = []
    done = 0
    for index, message in enumerate(example.messages):
        if message["role"] != "assistant":
            continue
        given = _render(example, example.messages[:index], ask=True)
        # What the template shows of an earlier turn may differ from what was written then: its
        # thoughts are left out. Only a turn that reads as it was written can be learned.
        if not whole.startswith(given):
            continue
        end = whole.index(END_OF_TURN, len(given)) + len(END_OF_TURN)
        parts += (whole[done : len(given)], False), (whole[len(given) : end], True)
        done = end
    if not parts or whole[done:].strip():
        raise ValueError(f"the last reply does not follow its prompt: {whole!r}")
    return parts


def prompt(example: Example) -> str:
    """All that comes before the last reply."""
    if isinstance(example, Text):
        return example.prompt
    return _render(example, example.messages[:-1], ask=True)


def _render(chat: Chat, messages: Iterable[Message], *, ask: bool) -> str:
    return template().render(
        messages=[dict(message) for message in messages],
        tools=[dict(tool) for tool in chat.tools] or None,
        add_generation_prompt=ask,
        enable_thinking=chat.thinking,
    )


@functools.cache
def template() -> Template:
    """The chat template, with Jinja set up as Hugging Face's transformers do it."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _tojson(value: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
