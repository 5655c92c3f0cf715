"""The ``anthropic`` package against the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pydantic
import pytest
from server_kit import RunningServer

QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY: Any = {"extra_body": {"temperature": 0}}
WEATHER: Any = {
    "name": "get_weather",
    "description": "Get the weather of a city.",
    "input_schema": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
    },
}  # fmt: skip
ASKED: Any = {"role": "user", "content": "What is the weather in Oslo?"}


@pytest.fixture
def client(server: RunningServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as made:
        yield made


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_messages(client: anthropic.Anthropic) -> None:
    message = client.messages.create(
        model="tinychat", max_tokens=64, messages=QUESTION, system="Answer.", **GREEDY
    )
    assert "Paris" in text_of(message)
    assert message.stop_reason == "end_turn" and message.stop_sequence is None
    assert message.usage.output_tokens > 0


def test_streams(client: anthropic.Anthropic) -> None:
    arguments: Any = {"model": "tinychat", "max_tokens": 64, "messages": QUESTION, **GREEDY}
    whole = client.messages.create(**arguments)
    with client.messages.stream(**arguments) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == text_of(final) == text_of(whole)
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_tools(client: anthropic.Anthropic) -> None:
    arguments: Any = {"model": "tinychat", "max_tokens": 64, "tools": [WEATHER], **GREEDY}
    message = client.messages.create(messages=[ASKED], **arguments)
    with client.messages.stream(messages=[ASKED], **arguments) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_message()
    each: Any
    for each in (message, streamed):
        assert each.stop_reason == "tool_use"
        called = next(block for block in each.content if block.type == "tool_use")
        assert (called.name, called.input) == ("get_weather", {"city": "Oslo"})
    call: Any = next(block for block in message.content if block.type == "tool_use")
    result: Any = {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": call.id, "content": "sunny, 20 degrees"}
        ],
    }
    said: Any = {"role": "assistant", "content": [b.model_dump() for b in message.content]}
    final = client.messages.create(messages=[ASKED, said, result], **arguments)
    assert "20" in text_of(final)


def test_a_tool_can_be_demanded(client: anthropic.Anthropic) -> None:
    message = client.messages.create(
        model="tinychat", max_tokens=64, messages=QUESTION, tools=[WEATHER], **GREEDY,
        tool_choice={"type": "tool", "name": "get_weather"},
    )  # fmt: skip
    assert [block.type for block in message.content] == ["tool_use"]


def test_the_stop_sequence_is_told(client: anthropic.Anthropic) -> None:
    arguments: Any = {
        "model": "tinychat", "max_tokens": 64, "messages": QUESTION, **GREEDY,
        "stop_sequences": ["of", "Paris"],
    }  # fmt: skip
    message = client.messages.create(**arguments)
    with client.messages.stream(**arguments) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_message()
    each: Any
    for each in (message, streamed):
        assert (each.stop_reason, each.stop_sequence) == ("stop_sequence", "of")
    short = client.messages.create(model="tinychat", max_tokens=3, messages=QUESTION, **GREEDY)
    assert short.stop_reason == "max_tokens"


def test_tokens_are_counted_as_they_are_computed(client: anthropic.Anthropic) -> None:
    count = client.messages.count_tokens(model="tinychat", messages=QUESTION, tools=[WEATHER])
    message = client.messages.create(
        model="tinychat", max_tokens=4, messages=QUESTION, tools=[WEATHER], **GREEDY
    )
    usage = message.usage
    assert count.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_errors_have_their_own_shape(client: anthropic.Anthropic, server: RunningServer) -> None:
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="tinychat", max_tokens=0, messages=QUESTION)
    anybody = client.messages.create(model="claude-of-somebody", max_tokens=4, messages=QUESTION)
    assert anybody.model == "claude-of-somebody"
    body = server.post("/v1/messages", {"messages": []}).json()
    assert body["type"] == "error" and body["error"].keys() == {"type", "message"}
    wrong: Any = [{"role": "user", "content": [{"type": "document"}]}]
    with pytest.raises(anthropic.BadRequestError, match="document"):
        client.messages.create(model="tinychat", max_tokens=4, messages=wrong)


def test_a_reply_that_was_begun_goes_on(client: anthropic.Anthropic) -> None:
    begun: Any = {"role": "assistant", "content": "The capital of France is"}
    message = client.messages.create(
        model="tinychat", max_tokens=16, messages=[*QUESTION, begun], **GREEDY
    )
    assert text_of(message).strip().startswith("Paris.")


def test_events_come_in_their_order(server: RunningServer) -> None:
    body = {"max_tokens": 8, "messages": QUESTION, "temperature": 0}
    kinds = [json.loads(event)["type"] for event in server.events("/v1/messages", body)]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


class Person(pydantic.BaseModel):
    name: str
    age: int


EXTRACT: Any = [{"role": "user", "content": "Extract Jason is 25 years old"}]


def test_messages_are_parsed(client: anthropic.Anthropic) -> None:
    arguments: Any = {"model": "tinychat", "max_tokens": 64, "messages": EXTRACT, **GREEDY}
    message = client.messages.parse(output_format=Person, **arguments)
    assert message.parsed_output == Person(name="Jason", age=25)
    with client.messages.stream(output_format=Person, **arguments) as stream:
        for _ in stream:
            pass
        assert stream.get_final_message().parsed_output == Person(name="Jason", age=25)


def test_schemas_in_either_place(client: anthropic.Anthropic, server: RunningServer) -> None:
    form = {"type": "json_schema", "schema": {
        "type": "object", "properties": {"city": {"enum": ["Rome", "Paris"]}},
        "required": ["city"], "additionalProperties": False,
    }}  # fmt: skip
    body = {"model": "tinychat", "max_tokens": 64, "messages": QUESTION, "temperature": 0}
    for place in ({"output_config": {"format": form}}, {"output_format": form}):
        answer = server.post("/v1/messages", {**body, **place}).json()
        assert json.loads(answer["content"][0]["text"])["city"] in ("Rome", "Paris")


@pytest.mark.parametrize(
    "form", [{"type": "magic"}, {"type": "json_schema"}, {"type": "json_schema", "schema": 3}, "x"]
)
def test_formats_that_are_none(client: anthropic.Anthropic, form: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="output_config.format"):
        client.messages.create(
            model="tinychat", max_tokens=8, messages=QUESTION, output_config={"format": form}
        )
