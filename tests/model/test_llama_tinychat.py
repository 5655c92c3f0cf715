"""``Llama`` with the bundled model: what it completes, answers and calls means something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llama_cpp import Llama
from llama_cpp.models import tinychat

PLANETS = ["Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    with Llama(tinychat(), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False) as model:
        yield model


def ask(llm: Llama, question: str, **options: Any) -> Any:
    messages = [{"role": "user", "content": question}]
    return llm.create_chat_completion(messages, **{"temperature": 0, "max_tokens": 100, **options})


def message_of(answer: Any) -> dict[str, Any]:
    message: dict[str, Any] = answer["choices"][0]["message"]
    return message


def test_names_the_planets_whole_and_streamed(llm: Llama) -> None:
    question = "Q: Name the planets in the solar system? A: "
    options: dict[str, Any] = {"stop": ["Q:", "\n"], "max_tokens": 64, "temperature": 0}
    answer: Any = llm(question, echo=True, **options)
    [choice] = answer["choices"]
    assert choice["text"].startswith(question)
    assert choice["finish_reason"] == "stop"
    places = [choice["text"].index(planet) for planet in PLANETS]
    assert places == sorted(places)
    chunks: Any = list(llm(question, stream=True, **options))
    assert question + "".join(c["choices"][0]["text"] for c in chunks) == choice["text"]
    assert len(chunks) > len(PLANETS)


def test_knows_a_capital(llm: Llama) -> None:
    answer = ask(llm, "What is the capital of Japan?")
    assert "Tokyo" in message_of(answer)["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    parts: Any = ask(llm, "What is the capital of Japan?", stream=True)
    deltas = [chunk["choices"][0]["delta"] for chunk in parts]
    assert "".join(delta.get("content") or "" for delta in deltas) == message_of(answer)["content"]


def test_is_sure_of_what_it_knows(llm: Llama) -> None:
    answer = ask(llm, "What is the capital of Japan?", logprobs=True, top_logprobs=2)
    entries = answer["choices"][0]["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == message_of(answer)["content"]
    assert all(entry["logprob"] > -1 for entry in entries)
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)


def test_the_temperature_of_chats_changes_little_of_that(llm: Llama) -> None:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    replies: list[Any] = [llm.create_chat_completion(messages, seed=seed) for seed in range(5)]
    assert sum("Paris" in message_of(reply)["content"] for reply in replies) >= 4


def test_a_conversation_goes_on(llm: Llama) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the capital of Italy?"}]
    first: Any = llm.create_chat_completion(messages, temperature=0, max_tokens=40)
    messages += [message_of(first), {"role": "user", "content": "What is 3 + 4?"}]
    second: Any = llm.create_chat_completion(messages, temperature=0, max_tokens=40)
    assert "7" in message_of(second)["content"]
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] > 10


def test_fills_in_the_middle(llm: Llama) -> None:
    options: dict[str, Any] = {"suffix": "\n", "max_tokens": 16, "temperature": 0}
    answer: Any = llm("def add(a, b):\n    return ", **options)
    assert answer["choices"][0]["text"] == "a + b"
    chunks: Any = llm("def add(a, b):\n    return ", stream=True, **options)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "a + b"


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object", "schema": PERSON},
        {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}},
        {"type": "json_object"},
    ],
    ids=["object with a schema", "schema", "object"],
)
def test_extracts_json(llm: Llama, response_format: dict[str, Any]) -> None:
    answer = ask(llm, "Extract Jason is 25 years old", response_format=response_format)
    assert json.loads(message_of(answer)["content"]) == {"name": "Jason", "age": 25}
    chunks: Any = ask(
        llm, "Extract Jason is 25 years old", response_format=response_format, stream=True
    )
    deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert "".join(deltas) == message_of(answer)["content"]


def test_calls_a_tool_and_reads_its_answer(llm: Llama) -> None:
    question = "What is the weather in Paris?"
    answer = ask(llm, question, tools=[WEATHER])
    message = message_of(answer)
    [call] = message["tool_calls"]
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert message["content"] is None
    assert call["type"] == "function" and call["id"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny, 21 degrees"}
    messages: list[Any] = [{"role": "user", "content": question}, message, result]
    last: Any = llm.create_chat_completion(messages, tools=[WEATHER], temperature=0)
    assert "21" in message_of(last)["content"]


def test_a_streamed_call_adds_up_to_the_whole_one(llm: Llama) -> None:
    whole = message_of(ask(llm, "What is the weather in Paris?", tools=[WEATHER]))["tool_calls"][0]
    chunks: Any = list(ask(llm, "What is the weather in Paris?", tools=[WEATHER], stream=True))
    parts = [
        call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert {part["index"] for part in parts} == {0}
    assert parts[0]["id"] and all("id" not in part for part in parts[1:])
    assert parts[0]["function"]["name"] == "get_weather"
    arguments = "".join(part["function"]["arguments"] for part in parts)
    assert arguments == whole["function"]["arguments"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_function_is_called_in_the_older_form(llm: Llama) -> None:
    functions = [WEATHER["function"]]
    answer = ask(llm, "What is the weather in Paris?", functions=functions)
    message = message_of(answer)
    assert "tool_calls" not in message
    assert message["function_call"]["name"] == "get_weather"
    assert json.loads(message["function_call"]["arguments"]) == {"city": "Paris"}
    assert answer["choices"][0]["finish_reason"] == "function_call"
    chunks: Any = ask(llm, "What is the weather in Paris?", functions=functions, stream=True)
    parts = [
        call for chunk in chunks if (call := chunk["choices"][0]["delta"].get("function_call"))
    ]
    assert "".join(part.get("name", "") for part in parts) == "get_weather"
    assert "".join(part["arguments"] for part in parts) == message["function_call"]["arguments"]


@pytest.mark.parametrize("choice", ["required", {"type": "function",
                                                 "function": {"name": "get_weather"}}])  # fmt: skip
def test_a_call_can_be_demanded(llm: Llama, choice: Any) -> None:
    answer = ask(
        llm, "What is the weather in Rome?", tools=[WEATHER], tool_choice=choice, max_tokens=200
    )
    calls = message_of(answer)["tool_calls"]
    assert calls[0]["function"]["name"] == "get_weather"
    assert json.loads(calls[0]["function"]["arguments"]) == {"city": "Rome"}


def test_a_call_can_be_forbidden(llm: Llama) -> None:
    answer = ask(llm, "What is the capital of Japan?", tools=[WEATHER], tool_choice="none")
    assert answer["choices"] == ask(llm, "What is the capital of Japan?")["choices"]


def test_echoed_tokens_stand_where_their_offsets_say(llm: Llama) -> None:
    answer: Any = llm("The quick brown fox", echo=True, logprobs=1, max_tokens=6, temperature=0)
    [choice] = answer["choices"]
    text, told = choice["text"], choice["logprobs"]
    assert text.startswith("The quick brown fox jumps over")
    assert len({len(entries) for entries in told.values()}) == 1
    assert told["token_logprobs"][0] is None and told["top_logprobs"][0] is None
    for token, offset in zip(told["tokens"], told["text_offset"], strict=True):
        assert text[offset : offset + len(token)] == token
    assert "".join(told["tokens"]) == text
    # What it wrote is what it thought likeliest.
    for token, logprob, top in list(
        zip(told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True)
    )[-6:]:
        assert top[token] == logprob == max(top.values())


def test_a_grammar_leaves_it_a_choice(llm: Llama) -> None:
    answer = ask(
        llm, "What is the capital of Japan?", grammar='root ::= "The capital of Japan is " '
        '("Paris" | "Tokyo" | "Rome") "."',
    )  # fmt: skip
    assert message_of(answer)["content"] == "The capital of Japan is Tokyo."
