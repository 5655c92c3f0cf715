"""How much is thought: counted, and ended where it is enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chat_kit import QUESTION, WEATHER, source, user
from llama_kit import open_llama
from scripted import Script
from zoo import Zoo

from llama_cpp.chat.messages import ReplyForm
from llama_cpp.constraints.spelling import spelled
from llama_cpp.errors import InvalidArgumentError
from llama_cpp.generation.params import GenerationParams
from llama_cpp.generation.thinking import ThinkingLimit
from llama_cpp.llama import Llama
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding
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


LONG = "The user asks for the weather, and again for the weather, and so on."


@pytest.mark.parametrize("budget", [1, 5, 11])
@pytest.mark.parametrize("options", [{}, {"logprobs": True, "top_logprobs": 1}], ids=["", "top"])
def test_a_thought_ends_after_its_budget(
    thinker: Llama, budget: int, options: dict[str, Any]
) -> None:
    tokens = Script(thinker, LONG).tokens
    answered = answer(thinker, f"<think>{LONG}", thinking_budget=budget, **options)
    [choice] = answered["choices"]
    thought = thinker.detokenize(tokens[:budget]).decode()
    assert choice["message"]["reasoning_content"] == thought
    # The script goes on as if nothing had happened.
    assert choice["message"]["content"] == thinker.detokenize(tokens[budget:]).decode()
    assert reasoning_tokens(answered) == budget
    if options:
        written = [each["token"] for each in choice["logprobs"]["content"]]
        assert written[budget + 1] == "</think>"


def test_a_budget_that_is_enough_changes_nothing(thinker: Llama) -> None:
    text = f"<think>{THOUGHT}</think>Rain."
    for budget in (n_tokens(thinker, THOUGHT) + 1, -1, None):
        answered = answer(thinker, text, thinking_budget=budget)
        assert answered["choices"][0]["message"]["content"] == "Rain."
        assert answered["choices"][0]["message"]["reasoning_content"] == THOUGHT


def test_a_message_is_the_end_of_the_thought(thinker: Llama) -> None:
    message = " Enough: I answer."
    answered = answer(
        thinker, f"<think>{LONG}", thinking_budget=4, thinking_end_message=message, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    *chunks, last = answered
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    thought = "".join(delta.get("reasoning_content", "") for delta in deltas)
    begun = thinker.detokenize(Script(thinker, LONG).tokens[:4]).decode()
    assert thought == begun + message
    assert reasoning_tokens(last) >= 4


def test_a_message_must_not_end_the_thought_by_itself(thinker: Llama) -> None:
    with pytest.raises(InvalidArgumentError, match="leave that out"):
        answer(thinker, "", thinking_budget=1, thinking_end_message="So.</think>")
    with pytest.raises(InvalidArgumentError, match="thinking_end_message"):
        answer(thinker, "", thinking_end_message=b"So.")
    with pytest.raises(InvalidArgumentError, match="thinking_budget"):
        answer(thinker, "", thinking_budget=-2)


def test_without_a_budget_the_template_is_told_not_to_think(thinker: Llama) -> None:
    answered = answer(thinker, "Rain.", thinking_budget=0)
    prompt = thinker.create_chat_completion(QUESTION, enable_thinking=False, max_tokens=0)
    assert answered["usage"]["prompt_tokens"] == prompt["usage"]["prompt_tokens"]
    assert answered["choices"][0]["message"]["content"] == "Rain."


def test_without_a_budget_a_thought_ends_where_it_begins(thinker: Llama) -> None:
    answered = answer(thinker, "<think>Rain.", thinking_budget=0, enable_thinking=True)
    assert answered["choices"][0]["message"] == {"role": "assistant", "content": "Rain."}
    assert reasoning_tokens(answered) == 0


def test_a_template_that_always_begins_a_thought_has_it_ended_at_once() -> None:
    template = source("MiniMax-M2")
    with open_llama(tinychat(), chat_template=template, n_ctx=1024) as llm:
        answered = answer(llm, "Rain.", thinking_budget=0)
        message = answered["choices"][0]["message"]
        assert message["content"] == "Rain."
        assert not message.get("reasoning_content", "").strip()
        assert reasoning_tokens(answered) == 0


def test_all_thoughts_of_a_reply_have_one_budget(thinker: Llama) -> None:
    text = "<think>The user asks</think>\n<think>again and again.</think>Rain."
    answered = answer(thinker, text, thinking_budget=4)
    assert reasoning_tokens(answered) == 4


def test_a_call_that_is_demanded_comes_after_the_budget(thinker: Llama) -> None:
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "days": 1}}\n'
    tool = {"tools": [WEATHER], "tool_choice": "required"}
    answered = answer(
        thinker, f"<think>{THOUGHT}\n{call}</tool_call>", thinking_end_message=" So.",
        thinking_budget=n_tokens(thinker, THOUGHT), **tool,
    )  # fmt: skip
    [choice] = answered["choices"]
    assert choice["message"]["reasoning_content"] == THOUGHT + " So."
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


def test_a_grammar_of_the_caller_says_by_itself_what_is_thought(thinker: Llama) -> None:
    answered: Any = thinker.create_chat_completion(
        QUESTION, grammar='root ::= "<think>" [a-z]{4,9}', thinking_budget=2, temperature=0
    )
    assert answered["choices"][0]["finish_reason"] == "stop"
    assert reasoning_tokens(answered) > 0


def test_several_replies_at_once_have_a_budget_each() -> None:
    """No processor looks at the logits here, so that the tokens of all are chosen together."""
    with open_llama(tinychat(), n_ctx=1024) as llm:
        end = Script(llm, "</think>").tokens[0]
        answered: Any = llm.create_chat_completion(
            QUESTION, enable_thinking=True, thinking_budget=6, n=2, max_tokens=30, seed=1,
            logit_bias={end: -100.0},
        )  # fmt: skip
    assert reasoning_tokens(answered) == 12
    for choice in answered["choices"]:
        assert choice["message"]["reasoning_content"]
        assert choice["message"]["content"]


def test_guessed_tokens_change_nothing() -> None:
    answers = []
    for draft in (None, LlamaPromptLookupDecoding(num_pred_tokens=4)):
        with open_llama(tinychat(), n_ctx=1024, draft_model=draft) as llm:
            end = Script(llm, "</think>").tokens[0]
            answered: Any = llm.create_chat_completion(
                [user("Say after me: the user asks for the capital of France.")],
                enable_thinking=True, thinking_budget=9, max_tokens=40, temperature=0,
                logit_bias={end: -100.0}, thinking_end_message=" It is time to answer.",
            )  # fmt: skip
        answers.append((answered["choices"][0]["message"], reasoning_tokens(answered)))
    assert answers[0] == answers[1]
    assert answers[0][0]["reasoning_content"].endswith(" It is time to answer.")


@pytest.mark.parametrize(
    ("effort", "budget"), [("none", 0), ("minimal", 512), ("low", 1024), ("max", None)]
)
def test_an_effort_is_a_budget_where_the_template_knows_none(
    thinker: Llama, effort: str, budget: int | None
) -> None:
    assert limit_of(thinker, reasoning_effort=effort).budget == budget
    chosen = limit_of(thinker, reasoning_effort=effort, thinking_budget=7).budget
    assert chosen == (0 if effort == "none" else 7)


def test_a_template_that_knows_efforts_is_told() -> None:
    prompts = {}
    template = source("openai-gpt-oss-120b")
    with open_llama(tinychat(), chat_template=template, n_ctx=1024) as llm:
        for effort in ("low", "high"):
            assert limit_of(llm, reasoning_effort=effort).budget is None
            params = llm.chats.params(reasoning_effort=effort)
            prompts[effort] = llm.detokenize(list(llm.chats.job(QUESTION, params).prompt))
        assert limit_of(llm, reasoning_effort="none").budget == 0
        named = {"reasoning_effort": "high"}
        params = llm.chats.params(reasoning_effort="low", chat_template_kwargs=named)
        assert llm.detokenize(list(llm.chats.job(QUESTION, params).prompt)) == prompts["high"]
    assert b"Reasoning: low" in prompts["low"]
    assert b"Reasoning: high" in prompts["high"]


def test_an_effort_asks_for_thoughts_and_none_against_them() -> None:
    with open_llama(tinychat(), n_ctx=1024) as llm:
        for effort, thinks in (("low", True), ("none", False)):
            answered: Any = llm.create_chat_completion(
                QUESTION, reasoning_effort=effort, temperature=0, max_tokens=60
            )
            assert bool(reasoning_tokens(answered)) == thinks
        with pytest.raises(InvalidArgumentError, match="reasoning_effort='much' must be one of"):
            llm.create_chat_completion(QUESTION, reasoning_effort="much")


def limit_of(llm: Llama, **options: Any) -> ThinkingLimit:
    """What a call makes of its arguments."""
    params = llm.chats.params(**options)
    renderer = llm.chats.renderer()
    given = params.template_options(thinks_by_default=renderer.thinks_by_default)
    talk = renderer.render(llm.chats.model.vocab, QUESTION, ReplyForm(), given, None)
    return talk.options(GenerationParams(thinking=params.thinking)).thinking


def test_the_answer_to_a_schema_comes_after_the_budget(thinker: Llama) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    answered = answer(
        thinker, f'<think>{THOUGHT}\n\n{{"a": 1}}', thinking_budget=n_tokens(thinker, THOUGHT),
        response_format={"type": "json_object", "schema": schema}, enable_thinking=True,
    )  # fmt: skip
    message = answered["choices"][0]["message"]
    assert message["reasoning_content"] == THOUGHT
    assert message["content"] == '{"a": 1}'


@pytest.mark.parametrize("kind", ["llama", "mamba", "hybrid"])
def test_random_weights_stop_thinking(zoo: Zoo, kind: str) -> None:
    """The tags are several tokens of these, and a recurrent state takes them one by one."""
    with open_llama(getattr(zoo, kind), chat_template=source("tinychat")) as llm:
        answered: Any = llm.create_chat_completion(
            QUESTION, enable_thinking=True, thinking_budget=5, max_tokens=40, temperature=0,
            thinking_end_message=" So.", logit_bias={llm.token_eos(): -100.0},
        )  # fmt: skip
        n_message = len(spelled(llm.chats.model.vocab, " So.", parse_special=False))
    [choice] = answered["choices"]
    assert choice["message"]["reasoning_content"].endswith(" So.")
    assert choice["message"]["content"]
    assert reasoning_tokens(answered) == 5 + n_message
