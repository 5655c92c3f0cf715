"""Tools, schemas and thoughts with a model that was trained for them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from llama_cpp import Llama
from llama_cpp.models import tinychat

WEATHER: dict[str, Any] = {
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
SEND: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "send_message",
        "description": "Send a message to a person",
        "parameters": {
            "type": "object",
            "properties": {"person": {"type": "string"}, "text": {"type": "string"}},
            "required": ["person", "text"],
        },
    },
}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
CITIES = ("Oslo", "Lima", "Cairo", "Tokyo")


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    with Llama(tinychat(), n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False) as model:
        yield model


def asked(city: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"What is the weather in {city}?"}]


def answer(llm: Llama, messages: Any, *, stream: bool, **options: Any) -> dict[str, Any]:
    """The one choice of an answer, or what its chunks add up to."""
    options = {"temperature": 0, "max_tokens": 200, **options}
    if not stream:
        whole: Any = llm.create_chat_completion(messages, **options)
        choice: dict[str, Any] = whole["choices"][0]
        return choice
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    reason = None
    chunks: Any = llm.create_chat_completion(messages, stream=True, **options)
    for chunk in chunks:
        [choice] = chunk["choices"]
        reason = choice["finish_reason"] or reason
        delta = choice["delta"]
        for name in ("content", "reasoning_content"):
            if delta.get(name):
                message[name] = message.get(name, "") + delta[name]
        for part in delta.get("tool_calls", []):
            calls = message.setdefault("tool_calls", [])
            if part["index"] == len(calls):
                calls.append({"id": part["id"], "type": part["type"], "function": part["function"]})
            else:
                calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    if "tool_calls" in message:
        message["content"] = message["content"] or None
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("choice", ["auto", "required", NAMED, "none"], ids=str)
@pytest.mark.parametrize("city", CITIES)
def test_the_weather_tool_in_every_mode(llm: Llama, city: str, choice: Any, stream: bool) -> None:
    got = answer(llm, asked(city), tools=[WEATHER, SEND], tool_choice=choice, stream=stream)
    if choice == "none":
        assert got["finish_reason"] == "stop"
        assert "tool_calls" not in got["message"]
        assert got["message"]["content"]
        return
    assert got["finish_reason"] == "tool_calls"
    [call] = got["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": city}
    assert got["message"]["content"] is None


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_two_steps_end_in_an_answer_that_uses_the_result(llm: Llama, stream: bool) -> None:
    for city, degrees in zip(CITIES, (7, 19, 31, 12), strict=True):
        first = answer(llm, asked(city), tools=[WEATHER], stream=stream)["message"]
        result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"],
                  "content": f"sunny, {degrees} degrees"}  # fmt: skip
        second = answer(llm, [*asked(city), first, result], tools=[WEATHER], stream=stream)
        assert f"{degrees} degrees" in second["message"]["content"]
        assert second["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_thoughts_come_apart_from_the_answer(llm: Llama, stream: bool) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    thought = answer(llm, question, enable_thinking=True, stream=stream)["message"]
    assert thought["reasoning_content"].strip()
    assert "Paris" in thought["content"]
    assert "think>" not in thought["content"] + thought["reasoning_content"]
    plain = answer(llm, question, enable_thinking=False, stream=stream)["message"]
    assert "reasoning_content" not in plain
    left = answer(
        llm, question, enable_thinking=True, reasoning_format="none", stream=stream
    )["message"]  # fmt: skip
    assert "reasoning_content" not in left
    assert "</think>" in left["content"]
    assert "Paris" in left["content"]


def test_a_call_after_a_thought(llm: Llama) -> None:
    for choice in ("auto", "required"):
        got = answer(
            llm, asked("Oslo"), tools=[WEATHER], tool_choice=choice, enable_thinking=True,
            stream=False,
        )["message"]  # fmt: skip
        assert json.loads(got["tool_calls"][0]["function"]["arguments"]) == {"city": "Oslo"}


def test_the_last_message_can_be_continued(llm: Llama) -> None:
    begun = [
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "The capital of France is"},
    ]
    for stream in (False, True):
        got = answer(llm, begun, continue_final_message=True, stream=stream)["message"]
        assert got["content"].lstrip().startswith("Paris")
        assert "reasoning_content" not in got


def test_functions_of_the_older_form(llm: Llama) -> None:
    functions = [WEATHER["function"], SEND["function"]]
    for wanted in (None, "auto", {"name": "get_weather"}):
        whole: Any = llm.create_chat_completion(
            asked("Oslo"), functions=functions, function_call=wanted, temperature=0
        )  # fmt: skip
        [choice] = whole["choices"]
        assert choice["finish_reason"] == "function_call"
        call = choice["message"]["function_call"]
        assert call == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
        parts: Any = llm.create_chat_completion(
            asked("Oslo"), functions=functions, function_call=wanted, temperature=0, stream=True
        )
        deltas = [part["choices"][0]["delta"].get("function_call", {}) for part in parts]
        assert "".join(delta.get("name", "") for delta in deltas) == "get_weather"
        assert "".join(delta.get("arguments", "") for delta in deltas) == '{"city": "Oslo"}'
        back = [
            *asked("Oslo"),
            choice["message"],
            {"role": "function", "name": "get_weather", "content": "7 degrees"},
        ]
        final: Any = llm.create_chat_completion(back, functions=functions, temperature=0)
        assert "7 degrees" in final["choices"][0]["message"]["content"]
    none: Any = llm.create_chat_completion(
        asked("Oslo"), functions=functions, function_call="none", temperature=0
    )
    assert "function_call" not in none["choices"][0]["message"]


def random_schema(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """A schema whose values are of bounded length."""
    kind = rng.randrange(9 if depth < 2 else 6)
    if kind == 0:
        return {"type": "string", "maxLength": rng.randint(1, 12)}
    if kind == 1:
        low = rng.randint(-50, 50)
        return {"type": "integer", "minimum": low, "maximum": low + rng.randint(0, 500)}
    if kind == 2:
        return {"type": rng.choice(["boolean", "null"])}
    if kind == 3:
        return {"enum": rng.sample(["red", "green", 1, 2.5, None, True, "blue"], 3)}
    if kind == 4:
        return {"const": rng.choice(["x", 5, None, {"a": [1]}])}
    if kind == 5:
        return {"type": "string", "format": rng.choice(["date", "time", "uuid"])}
    if kind == 6:
        return {
            "type": "array", "items": random_schema(rng, depth + 1),
            "minItems": rng.randint(0, 2), "maxItems": rng.randint(2, 4),
        }  # fmt: skip
    if kind == 7:
        return {"anyOf": [random_schema(rng, depth + 1) for _ in range(rng.randint(1, 3))]}
    return random_object(rng, depth + 1)


def random_object(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    names = rng.sample(["name", "age", "city", "color", "size", "tags", "at"], rng.randint(1, 4))
    return {
        "type": "object",
        "properties": {name: random_schema(rng, depth) for name in names},
        "required": rng.sample(names, rng.randint(0, len(names))),
        "additionalProperties": False,
    }


def test_replies_follow_two_hundred_random_schemas(llm: Llama) -> None:
    question = [{"role": "user", "content": "Extract the name and the age: Anna is 31 years old."}]
    for seed in range(200):
        schema = random_object(random.Random(seed))
        form = {
            "type": "json_schema",
            "json_schema": {"name": "f", "strict": True, "schema": schema},
        }
        got = answer(
            llm, question, response_format=form, stream=seed % 2 == 1, temperature=1.0, seed=seed,
            max_tokens=1000,
        )  # fmt: skip
        assert got["finish_reason"] == "stop", (seed, got)
        jsonschema.validate(json.loads(got["message"]["content"]), schema)
