"""Whether a model thinks when nobody says anything about it: its template decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llama_cpp.chat.conversation import LoadedTemplate
from llama_cpp.llama import Llama
from llama_cpp.models import tinychat

TEMPLATES = Path(__file__).parents[3] / "vendor" / "llama.cpp" / "models" / "templates"


@pytest.mark.parametrize(
    ("name", "thinks"),
    [
        ("Qwen-Qwen3-0.6B", True),  # off only if it is false
        ("HuggingFaceTB-SmolLM3-3B", True),  # "is not defined" makes it true
        ("Spark2.5", True),  # default(true)
        ("GLM-4.6", True),
        ("deepseek-ai-DeepSeek-V3.1", False),  # "is not defined" makes it false
        ("poolside-Laguna-XS-2.1", False),  # default(false)
        ("google-gemma-4-31B-it", False),
    ],
)
def test_a_template_has_its_own_default(name: str, thinks: bool) -> None:
    source = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    assert LoadedTemplate(source).thinks_by_default == thinks


def test_templates_that_know_nothing_of_thoughts_or_take_no_question_change_nothing() -> None:
    assert LoadedTemplate("{{ messages[0].content }}").thinks_by_default
    assert LoadedTemplate("{{ raise_exception(enable_thinking) }}").thinks_by_default


@pytest.mark.parametrize(
    ("options", "thinks"),
    [
        ({}, False),
        ({"enable_thinking": True}, True),
        ({"enable_thinking": False}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {}}, False),
    ],
)
def test_tinychat_thinks_only_when_it_is_told_to(options: dict[str, Any], thinks: bool) -> None:
    with Llama(tinychat(), verbose=False) as llm:
        messages = [{"role": "user", "content": "What is the capital of France?"}]
        options = {"temperature": 0, "max_tokens": 100, **options}
        answer: Any = llm.create_chat_completion(messages, **options)
    message = answer["choices"][0]["message"]
    assert "Paris" in message["content"]
    assert bool(message.get("reasoning_content")) == thinks
