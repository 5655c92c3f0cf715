"""Templates of which the engine cannot find out how they write replies: all of one is content."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from llama_kit import open_llama
from zoo import Zoo

from llama_cpp.errors import ChatTemplateError
from llama_cpp.llama import Llama

MESSAGES = [
    {"role": "system", "content": "word by word"},
    {"role": "user", "content": "what is the answer"},
]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
DUMP = "{{ messages | tojson }}{% if add_generation_prompt %}{{ '\nreply:' }}{% endif %}"


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, n_ctx=1024, chat_template=DUMP) as model:
        yield model


def answer(llm: Llama, messages: Any = MESSAGES, **options: Any) -> Any:
    return llm.create_chat_completion(
        messages, **{"max_tokens": 12, "temperature": 0, "ignore_eos": True, **options}
    )


def content_of(reply: Any) -> str:
    content: str = reply["choices"][0]["message"]["content"]
    return content


def prompt_of(llm: Llama, reply: Any) -> str:
    tokens = list(llm.eval_tokens)[: reply["usage"]["prompt_tokens"]]
    return llm.detokenize(tokens).decode()


def test_the_prompt_is_what_the_template_renders(llm: Llama) -> None:
    reply = answer(llm)
    prompt, begun = prompt_of(llm, reply).split("\nreply:")
    assert json.loads(prompt) == MESSAGES
    assert not begun
    # All of the reply is content, the second time and piece by piece too.
    tokens = list(llm.eval_tokens)[: reply["usage"]["prompt_tokens"]]
    text: Any = llm(tokens, max_tokens=12, temperature=0, ignore_eos=True)
    assert content_of(reply) == content_of(answer(llm)) == text["choices"][0]["text"]
    deltas = [part["choices"][0]["delta"].get("content") or "" for part in answer(llm, stream=True)]
    assert "".join(deltas) == content_of(reply)


def test_a_schema_is_honoured(llm: Llama) -> None:
    form = {"type": "json_object", "schema": {"enum": ["yes", "no"]}}
    reply = answer(llm, response_format=form, max_tokens=50, ignore_eos=False)
    assert json.loads(content_of(reply)) in ("yes", "no")


def test_a_call_can_be_demanded(llm: Llama) -> None:
    reply = answer(llm, tools=[TOOL], tool_choice="required", max_tokens=500, ignore_eos=False)
    [call] = reply["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "f"


def test_a_reply_can_be_begun(llm: Llama) -> None:
    begun = [*MESSAGES, {"role": "assistant", "content": "It will"}]
    reply = answer(llm, begun, continue_final_message=True)
    assert prompt_of(llm, reply).endswith("\nreply:It will")
    assert not content_of(reply).startswith("It will")


def test_a_template_that_fails_says_why(zoo: Zoo) -> None:
    source = "{{ messages | tojson }}{{ raise_exception('not today') }}"
    with (
        open_llama(zoo.llama, chat_template=source) as llm,
        pytest.raises(ChatTemplateError, match="not today"),
    ):
        answer(llm)
