"""The templates of real models, in our sandbox and in jinja2's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from chat_kit import ARGUMENTS, OF_THE_ENGINE, QUESTION, WEATHER, user
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llama_cpp.chat.sandbox import ChatTemplate, strftime_now, tojson
from llama_cpp.errors import ChatTemplateError

CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": ARGUMENTS}}
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "name": "f", "content": json.dumps([{}])}
ANSWER = {"role": "assistant", "content": 'It\'s <b>\n"fine"', "reasoning_content": "Hm"}
CONVERSATIONS: tuple[Mapping[str, Any], ...] = (
    {"messages": QUESTION},
    {"messages": [{"role": "system", "content": "Be nice."}, *QUESTION, ANSWER, user(" Really? ")]},
    {"messages": [*QUESTION, {"role": "assistant", "content": "", "tool_calls": [CALL]}, RESULT]},
    {"messages": [user("Hi")], "tools": [WEATHER], "enable_thinking": False},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
)
VARIABLES = {
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "datetime": "Today",
    "functions": "[]",
}  # fmt: skip


def in_plain_jinja(source: str, variables: Mapping[str, Any]) -> str | None:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=refuse, strftime_now=strftime_now)
    try:
        return environment.from_string(source).render(variables)
    except (TemplateError, TypeError):
        return None


def in_sandbox(template: ChatTemplate, variables: Mapping[str, Any]) -> str | None:
    try:
        return template.render(**variables)
    except ChatTemplateError:
        return None


@pytest.mark.parametrize("path", sorted(OF_THE_ENGINE.glob("*.jinja")), ids=lambda path: path.stem)
def test_limits_change_no_text(path: Path) -> None:
    source = path.read_text("utf-8")
    template = ChatTemplate(source)
    plain = re.sub(r"{%(-?) *generation *(-?)%}", r"{%\1 if true \2%}", source)
    plain = re.sub(r"{%(-?) *endgeneration *(-?)%}", r"{%\1 endif \2%}", plain)
    texts = []
    for conversation in CONVERSATIONS:
        variables = {**conversation, **VARIABLES}
        texts.append(in_sandbox(template, variables))
        assert texts[-1] == in_plain_jinja(plain, variables)
    assert any(texts)
