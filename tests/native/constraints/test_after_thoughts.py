"""Constraints of replies that thoughts may come before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from llama_kit import open_llama
from zoo import Zoo

from llama_cpp.constraints.after_thoughts import AfterThoughts
from llama_cpp.constraints.constraint import regex
from llama_cpp.constraints.spelling import spelled
from llama_cpp.handles import Model, Vocab
from llama_cpp.handles.matcher import Matcher
from llama_cpp.text import ThoughtTags

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
)
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "number", "multipleOf": 5, "minimum": 0, "maximum": 1000}},
    "required": ["n"],
    "additionalProperties": False,
}
FORM: dict[str, Any] = {"type": "json_object", "schema": SCHEMA}


@pytest.fixture(scope="module")
def model(zoo: Zoo) -> Iterator[Model]:
    with Model(zoo.llama) as opened:
        yield opened


def begun(model: Model, begun: str = "", *, may_think: bool = True) -> Matcher:
    tags = ThoughtTags("<think>", ["</think>"], begun)
    matcher = AfterThoughts(regex("[0-9]+"), tags, may_think=may_think).begin(model)
    assert not hasattr(matcher, "pointer")
    return matcher


def taken(matcher: Matcher, vocab: Vocab, text: str) -> bool:
    """Whether each token of a text is taken, and is in the mask before."""
    import ctypes

    for token in spelled(vocab, text):
        words = (ctypes.c_uint32 * -(-vocab.n_tokens // 32)).from_address(matcher.mask())
        in_mask = bool(words[token // 32] >> token % 32 & 1)
        accepted = matcher.accept(token)
        if not vocab.token_to_piece(token).isspace():  # it may come, and is never proposed
            assert accepted == in_mask, (text, token)
        if not accepted:
            return False
    return True


def test_a_thought_that_the_prompt_has_begun_ends_first(model: Model) -> None:
    matcher, vocab = begun(model, "<think>\n"), model.vocab
    assert taken(matcher, vocab, "Hm, <what> a 5 </thin")
    assert not matcher.accept(vocab.eos)
    assert taken(matcher, vocab, "k>")
    assert not taken(matcher, vocab, "x")
    assert taken(matcher, vocab, "42")
    assert matcher.accept(vocab.eos)


def test_a_thought_may_come_first(model: Model) -> None:
    matcher, vocab = begun(model), model.vocab
    assert matcher.n_allowed([1, 2, 3]) == 3
    assert taken(matcher, vocab, "<think>why</think>")
    assert not matcher.accept(vocab.tokenize("<", add_special=False)[-1])  # one is enough
    assert taken(matcher, vocab, "7")


@pytest.mark.parametrize("prompt", ["", "<think>\n\n</think>\n\n"])
def test_no_thought_is_needed(model: Model, prompt: str) -> None:
    assert taken(begun(model, prompt), model.vocab, "12")


def test_none_is_allowed_where_none_is_wanted(model: Model) -> None:
    assert not taken(begun(model, may_think=False), model.vocab, "<think>")


@pytest.mark.parametrize("thinks", [True, False])
def test_a_chat_thinks_and_then_answers_as_it_should(zoo: Zoo, thinks: bool) -> None:
    with open_llama(zoo.llama, n_ctx=1024, chat_template=TEMPLATE) as llm:
        for seed in range(3):
            answer: Any = llm.create_chat_completion(
                [{"role": "user", "content": "A number?"}], response_format=FORM, seed=seed,
                temperature=1.0, max_tokens=200, enable_thinking=thinks, ignore_eos=False,
                thinking_budget=20,
            )  # fmt: skip
            message = answer["choices"][0]["message"]
            found = re.fullmatch(r'\{"n": (-?\d+(\.0+)?)\}', message["content"])
            assert found, message
            assert int(found[1].partition(".")[0]) % 5 == 0
            assert bool(message.get("reasoning_content")) == thinks


def test_choices_are_the_content(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_ctx=1024, chat_template=TEMPLATE) as llm:
        for thinks in (True, False):
            answer: Any = llm.create_chat_completion(
                [{"role": "user", "content": "Yes?"}], choices=["yes", "no"], max_tokens=200,
                enable_thinking=thinks, thinking_budget=10, ignore_eos=False,
            )  # fmt: skip
            assert answer["choices"][0]["message"]["content"] in ("yes", "no")


def test_json_that_has_begun_goes_on(zoo: Zoo) -> None:
    begun = '{"n'
    messages = [
        {"role": "user", "content": "A number?"}, {"role": "assistant", "content": begun},
    ]  # fmt: skip
    schema = {"type": "object", "properties": {"n": {"type": "boolean"}}, "required": ["n"]}
    with open_llama(zoo.llama, n_ctx=1024, chat_template=TEMPLATE) as llm:
        answer: Any = llm.create_chat_completion(
            messages, response_format={"type": "json_object", "schema": schema}, max_tokens=100,
            continue_final_message=True, enable_thinking=False, ignore_eos=False,
        )  # fmt: skip
    assert isinstance(json.loads(begun + answer["choices"][0]["message"]["content"])["n"], bool)
