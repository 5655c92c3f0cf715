"""``create_chat_completion_openai_v1`` returns what the ``openai`` package would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llama_cpp import Llama
from llama_cpp.models import tinychat

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
SKY = [{"role": "user", "content": "What is the weather in Oslo?"}]
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 100}


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    with Llama(tinychat(), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False) as model:
        yield model


def test_a_plain_answer(llm: Llama) -> None:
    options = {"logprobs": True, "top_logprobs": 2, **GREEDY}
    answer: Any = llm.create_chat_completion_openai_v1(CAPITAL, **options)
    assert isinstance(answer, ChatCompletion)
    typed: Any = answer
    plain: Any = llm.create_chat_completion(CAPITAL, **options)
    assert typed.choices[0].message.content == plain["choices"][0]["message"]["content"]
    assert "Paris" in typed.choices[0].message.content
    assert typed.choices[0].finish_reason == "stop"
    assert typed.choices[0].message.tool_calls is None
    assert typed.choices[0].logprobs.content[0].top_logprobs[0].token
    assert typed.usage.total_tokens == typed.usage.prompt_tokens + typed.usage.completion_tokens
    # Nothing that the types demand is missing, and nothing is lost on the way.
    assert ChatCompletion.model_validate(plain).model_dump(exclude_unset=True) == plain


def test_a_stream(llm: Llama) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}, **GREEDY}
    chunks = list(llm.create_chat_completion_openai_v1(CAPITAL, **options))
    assert all(type(chunk) is ChatCompletionChunk for chunk in chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Paris" in text
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens > 0
    for chunk in llm.create_chat_completion(CAPITAL, **options):
        dumped = ChatCompletionChunk.model_validate(chunk).model_dump(exclude_unset=True)
        assert dumped == chunk


def test_a_call_and_its_answer(llm: Llama) -> None:
    answer = llm.create_chat_completion_openai_v1(SKY, tools=[WEATHER], **GREEDY)
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert call.function.arguments == '{"city": "Oslo"}'
    # The objects go back in as clients send them.
    talk = [
        *SKY,
        choice.message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": "-3 degrees"},
    ]
    final = llm.create_chat_completion_openai_v1(talk, tools=[WEATHER], **GREEDY)
    assert "-3 degrees" in final.choices[0].message.content


def test_a_streamed_call(llm: Llama) -> None:
    chunks = list(llm.create_chat_completion_openai_v1(SKY, tools=[WEATHER], stream=True, **GREEDY))
    parts = [part for chunk in chunks for part in chunk.choices[0].delta.tool_calls or []]
    assert parts[0].id
    assert parts[0].function.name == "get_weather"
    assert "".join(part.function.arguments for part in parts) == '{"city": "Oslo"}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_thoughts_are_an_extra_of_the_message(llm: Llama) -> None:
    answer = llm.create_chat_completion_openai_v1(CAPITAL, enable_thinking=True, **GREEDY)
    assert answer.choices[0].message.reasoning_content
    assert "Paris" in answer.choices[0].message.content
