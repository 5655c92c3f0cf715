"""How much is thought: counted, and ended where it is enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chat_kit import QUESTION, WEATHER, source
from llama_kit import open_llama
from scripted import Script

from llama_cpp.llama import Llama
from llama_cpp.models import tinychat

THOUGHT = "The user asks for the weather."


@pytest.fixture(scope="module")
def thinker() -> Iterator[Llama]:
    """A model with the template of another one that begins its thoughts by itself."""
    template = source("Qwen-Qwen3-0.6B")
    with open_llama(tinychat(), chat_template=template, n_ctx=1024) as llm:
        yield llm


def answer(llm: Llama, text: str, **options: Any) -> Any:
    """What comes of a reply that the model is made to write."""
    return llm.create_chat_completion(
        QUESTION, logits_processor=[Script(llm, text)], max_tokens=200, **options
    )


def reasoning_tokens(answered: Any) -> int:
    count: int = answered["usage"]["completion_tokens_details"]["reasoning_tokens"]
    return count


def n_tokens(llm: Llama, text: str) -> int:
    return len(Script(llm, text).tokens)


def test_the_tokens_of_thoughts_are_in_the_usage(thinker: Llama) -> None:
    text = f"<think>{THOUGHT}</think>Rain."
    answered = answer(thinker, text)
    assert answered["choices"][0]["message"]["reasoning_content"] == THOUGHT
    assert reasoning_tokens(answered) == n_tokens(thinker, THOUGHT)
    chunks = list(answer(thinker, text, stream=True, stream_options={"include_usage": True}))
    assert reasoning_tokens(chunks[-1]) == n_tokens(thinker, THOUGHT)


def test_a_thought_that_does_not_end_is_counted_and_none_is_zero(thinker: Llama) -> None:
    answered = answer(thinker, f"<think>{THOUGHT}")
    assert answered["choices"][0]["finish_reason"] == "stop"
    assert reasoning_tokens(answered) == n_tokens(thinker, THOUGHT)
    assert reasoning_tokens(answer(thinker, "Rain.")) == 0


def test_a_template_without_thoughts_has_no_count(thinker: Llama) -> None:
    template = source("Qwen-Qwen2.5-7B-Instruct")
    with open_llama(tinychat(), chat_template=template) as llm:
        assert "completion_tokens_details" not in answer(llm, "Rain.")["usage"]


def test_a_call_that_a_thought_mentions_is_none(thinker: Llama) -> None:
    thought = 'I could write <tool_call>\nand "so on".'
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "days": 1}}\n'
    text = f"<think>{thought}</think>{call}</tool_call>"
    answered = answer(thinker, text, tools=[WEATHER])
    [choice] = answered["choices"]
    assert choice["message"]["reasoning_content"] == thought
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
