"""The ``openai`` package against the server: every kind of call that it types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from server_kit import RunningServer, serving

from llama_cpp.server.settings import ServerSettings

QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
ASKED: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_completions(client: openai.OpenAI) -> None:
    prompt = "Q: What is the capital of France? A:"
    answer = client.completions.create(model="tinychat", prompt=prompt, temperature=0, logprobs=2)
    assert "Paris" in answer.choices[0].text
    assert answer.choices[0].logprobs is not None and answer.choices[0].logprobs.tokens
    stream = client.completions.create(model="tinychat", prompt=prompt, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == answer.choices[0].text


def test_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tinychat", messages=QUESTION, temperature=0, logprobs=True, top_logprobs=2
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].logprobs is not None and answer.choices[0].logprobs.content
    with client.chat.completions.stream(
        model="tinychat", messages=QUESTION, temperature=0, stream_options={"include_usage": True}
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content == answer.choices[0].message.content
    assert final.usage is not None and final.usage.completion_tokens > 0


def test_tools(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tinychat", messages=ASKED, tools=[WEATHER], temperature=0
    )
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls" and message.tool_calls
    call: Any = message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny, 20 degrees"}
    history: Any = [*ASKED, message, result]
    final = client.chat.completions.create(
        model="tinychat", messages=history, tools=[WEATHER], temperature=0
    )
    assert "20" in (final.choices[0].message.content or "")


def test_streamed_tools_have_the_same_arguments(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="tinychat", messages=ASKED, tools=[WEATHER], temperature=0
    ) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Oslo"}


def test_json_schemas(client: openai.OpenAI) -> None:
    schema = {
        "type": "object", "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"], "additionalProperties": False,
    }  # fmt: skip
    form: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    answer = client.chat.completions.create(
        model="tinychat", messages=QUESTION, response_format=form, temperature=0
    )
    assert json.loads(answer.choices[0].message.content or "").keys() == {"city"}


def test_embeddings(client: openai.OpenAI) -> None:
    texts = ["a text", "another text that is longer"]
    answer = client.embeddings.create(model="tinychat", input=texts)  # the client asks for base64
    plain = client.embeddings.create(model="tinychat", input=texts, encoding_format="float")
    for one, other in zip(answer.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    short = client.embeddings.create(model="tinychat", input=texts, dimensions=8)
    assert {len(each.embedding) for each in short.data} == {8}


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tinychat"]
    assert client.models.retrieve("tinychat").id == "tinychat"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


def test_responses(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="tinychat", input="What is the capital of France?", instructions="Answer.",
        temperature=0,
    )  # fmt: skip
    assert "Paris" in answer.output_text and answer.status == "completed"
    assert answer.usage is not None and answer.usage.output_tokens > 0
    with client.responses.stream(
        model="tinychat", input="What is the capital of France?", instructions="Answer.",
        temperature=0,
    ) as stream:  # fmt: skip
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == answer.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_responses_call_tools_and_take_their_results(client: openai.OpenAI) -> None:
    tool: Any = {"type": "function", **WEATHER["function"], "strict": False}
    question: Any = {"role": "user", "content": "What is the weather in Oslo?"}
    answer = client.responses.create(
        model="tinychat", input=[question], tools=[tool], temperature=0
    )
    calls = [item for item in answer.output if item.type == "function_call"]
    assert json.loads(calls[0].arguments) == {"city": "Oslo"}
    output: Any = {
        "type": "function_call_output", "call_id": calls[0].call_id, "output": "sunny, 20 degrees",
    }  # fmt: skip
    items: Any = [question, *(item.model_dump() for item in answer.output), output]
    final = client.responses.create(model="tinychat", input=items, tools=[tool], temperature=0)
    assert "20" in final.output_text


def test_responses_that_are_cut_off_are_incomplete(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="tinychat", input="Tell me a story.", max_output_tokens=4, temperature=0
    )
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_responses_follow_a_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object", "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"], "additionalProperties": False,
    }  # fmt: skip
    form: Any = {"format": {"type": "json_schema", "name": "city", "schema": schema}}
    answer = client.responses.create(
        model="tinychat", input="What is the capital of France?", text=form, temperature=0
    )
    assert json.loads(answer.output_text).keys() == {"city"}


def test_what_responses_cannot_do_is_said(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="not stored"):
        client.responses.create(model="tinychat", input="Hi", previous_response_id="resp_1")
    with pytest.raises(openai.BadRequestError, match="web_search"):
        client.responses.create(model="tinychat", input="Hi", tools=[{"type": "web_search"}])
    with pytest.raises(openai.BadRequestError, match=r"input\[0\]"):
        wrong: Any = [{"type": "item_reference", "id": "x"}]
        client.responses.create(model="tinychat", input=wrong)


def test_an_abort_in_mid_stream_frees_the_slot(
    server: RunningServer, client: openai.OpenAI
) -> None:
    stream = client.completions.create(
        model="tinychat", prompt="Once upon a time", max_tokens=1900, stream=True,
        extra_body={"ignore_eos": True},
    )  # fmt: skip
    next(stream)
    stream.close()
    while server.busy_slots:
        pass
    assert client.completions.create(model="tinychat", prompt="Once", max_tokens=1).choices


def test_a_wrong_key_is_refused() -> None:
    with serving(api_key="right, other") as locked:
        url = f"{locked.url}/v1"
        for key in ("right", "other"):
            with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
                assert client.models.list().data
        for key in ("righ", "rigth", "right,", "Right", "right, other", "\u20ac"):
            headers = {"Authorization": f"Bearer {key}".encode()}
            assert locked.get("/v1/models", headers=headers).status_code == 401
        wrong = openai.OpenAI(base_url=url, api_key="righ", max_retries=0)
        with wrong, pytest.raises(openai.AuthenticationError):
            wrong.models.list()
        assert locked.get("/health").status_code == 200
        assert locked.get("/metrics").status_code == 401
        assert locked.get("/v1/models", headers={"x-api-key": "other"}).status_code == 200


def test_keys_may_stand_in_a_file(tmp_path: Any) -> None:
    (tmp_path / "keys").write_text("one\n\n two \n")
    assert ServerSettings(api_key_file=str(tmp_path / "keys")).keys == ["one", "two"]
