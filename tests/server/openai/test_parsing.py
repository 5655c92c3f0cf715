"""What the ``openai`` package makes objects of: ``chat.completions.parse``, ``responses.parse``."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest
from server_kit import RunningServer

MESSAGES: Any = [{"role": "user", "content": "Extract Jason is 25 years old"}]
ARGUMENTS: Any = {"model": "tinychat", "temperature": 0}


class Kind(enum.Enum):
    ADULT = "adult"
    CHILD = "child"


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str
    age: int


class Described(Person):
    kind: Kind
    nickname: str | None = pydantic.Field(max_length=8)
    friends: list[Person] = pydantic.Field(max_length=1)


JASON = Person(name="Jason", age=25)


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_chats_are_parsed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(messages=MESSAGES, response_format=Person, **ARGUMENTS)
    assert answer.choices[0].message.parsed == JASON


def test_types_of_types_are_parsed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        messages=MESSAGES, response_format=Described, **ARGUMENTS
    )
    assert isinstance(answer.choices[0].message.parsed, Described)


def test_streamed_chats_are_parsed(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        messages=MESSAGES, response_format=Person, **ARGUMENTS
    ) as stream:
        seen = [event.parsed for event in stream if event.type == "content.delta"]
        answer = stream.get_final_completion()
    assert {} in seen and {"name": "Jason", "age": 25} in seen
    assert answer.choices[0].message.parsed == JASON


def test_what_is_cut_off_is_told(client: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(
            messages=MESSAGES, response_format=Person, max_tokens=4, **ARGUMENTS
        )


def test_responses_are_parsed(client: openai.OpenAI) -> None:
    question = MESSAGES[0]["content"]
    answer = client.responses.parse(input=question, text_format=Person, **ARGUMENTS)
    assert answer.output_parsed == JASON
    with client.responses.stream(input=question, text_format=Person, **ARGUMENTS) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_parsed == JASON
