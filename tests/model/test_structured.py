"""Replies as objects: types in, objects out, whole and in parts."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import enum
import itertools
import sys
import uuid
from collections.abc import Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

import pydantic
import pytest

from llama_cpp import AsyncLlama, Llama
from llama_cpp.constraints import constraint
from llama_cpp.errors import GrammarError, InvalidArgumentError, ReplyValidationError
from llama_cpp.models import tinychat

MESSAGES: Any = [{"role": "user", "content": "Extract Jason is 25 years old"}]
GREEDY: Any = {"temperature": 0, "max_tokens": 64}


class Person(pydantic.BaseModel):
    name: str
    age: int


class Child(pydantic.BaseModel):
    name: str
    age: int

    @pydantic.field_validator("age")
    @classmethod
    def _is_child(cls, age: int) -> int:
        if age > 12:
            raise ValueError("that is no child")
        return age


@dataclasses.dataclass
class Somebody:
    name: str
    age: int


class Answer(enum.Enum):
    YES = "yes"
    NO = "no"


PERSON_SCHEMA = {
    "type": "object", "required": ["name", "age"], "additionalProperties": False,
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
}  # fmt: skip
JASON = [
    (Person, Person(name="Jason", age=25)),
    (Somebody, Somebody("Jason", 25)),
    (Somebody | None, Somebody("Jason", 25)),
    (PERSON_SCHEMA, {"name": "Jason", "age": 25}),
]


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    with Llama(tinychat(), n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False) as model:
        yield model


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.mark.parametrize(("form", "expected"), JASON)
def test_messages_have_the_object(llm: Llama, form: Any, expected: Any) -> None:
    answer = llm.create_chat_completion(MESSAGES, response_format=form, **GREEDY)
    assert answer["choices"][0]["message"]["parsed"] == expected


def test_without_pydantic(llm: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    answer = llm.create_chat_completion(MESSAGES, response_format=Somebody, **GREEDY)
    assert answer["choices"][0]["message"]["parsed"] == Somebody("Jason", 25)


def test_forms_of_openai_change_no_message(llm: Llama) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON_SCHEMA}}
    for given in (None, {"type": "json_object"}, form):
        answer = llm.create_chat_completion(MESSAGES, response_format=given, **GREEDY)
        assert "parsed" not in answer["choices"][0]["message"]


@pytest.mark.parametrize(
    ("form", "values"), [(Answer, set(Answer)), (Literal["yes", "no"], {"yes", "no"})]
)
def test_completions_have_the_object(llm: Llama, form: Any, values: set[Any]) -> None:
    answer = llm.create_completion("Is Paris in France? ", schema=form, echo=True, n=2)
    for choice in answer["choices"]:
        assert choice["parsed"] in values
        assert choice["text"].startswith("Is Paris")


def test_a_schema_of_a_completion_changes_no_choice(llm: Llama) -> None:
    answer = llm.create_completion("Jason is 25: ", schema={"enum": ["yes", "no"]})
    assert "parsed" not in answer["choices"][0]


def test_a_check_that_no_grammar_knows_names_its_field(llm: Llama) -> None:
    with pytest.raises(ReplyValidationError, match="that is no child") as caught:
        llm.create_chat_completion(MESSAGES, response_format=Child, **GREEDY)
    assert caught.value.field == "age"
    assert '"Jason"' in caught.value.text


def test_a_reply_that_is_cut_off_is_told(llm: Llama) -> None:
    options: Any = {**GREEDY, "max_tokens": 5, "response_format": Person}
    with pytest.raises(ReplyValidationError, match="cut off"):
        llm.create_chat_completion(MESSAGES, **options)
    stream = llm.create_chat_completion(MESSAGES, stream=True, **options)
    *_, last = stream.partial()
    assert last.keys() <= {"name"}
    with pytest.raises(ReplyValidationError, match="cut off"):
        stream.parsed()


def test_what_is_no_type_is_refused(llm: Llama) -> None:
    given: list[Any] = [3, ["name"], Person(name="Jo", age=1)]
    for form in given:
        with pytest.raises(InvalidArgumentError):
            llm.create_chat_completion(MESSAGES, response_format=form)
        with pytest.raises(InvalidArgumentError):
            llm.create_completion("a", schema=form)
    with pytest.raises(InvalidArgumentError):
        llm.create_chat_completion(MESSAGES, response_format="Person")
    with pytest.raises(GrammarError):
        llm.create_chat_completion(MESSAGES, response_format={"type": ["strnig"]})


@pytest.mark.parametrize(("form", "expected"), JASON)
def test_streams_tell_what_is_there(llm: Llama, form: Any, expected: Any) -> None:
    stream = llm.create_chat_completion(MESSAGES, response_format=form, stream=True, **GREEDY)
    seen = list(stream.partial())
    assert seen[0] == {} and seen[-1] == {"name": "Jason", "age": 25}
    assert {"name": "Jason"} in seen
    for before, after in itertools.pairwise(seen):
        assert before != after and before.keys() <= after.keys()
        assert after["name"].startswith(before.get("name", ""))
    assert stream.parsed() == expected


def test_streams_know_openai_forms_too(llm: Llama) -> None:
    form = {"type": "json_object", "schema": {**PERSON_SCHEMA, "properties": {
        "name": {"enum": ["Jason", "Jane"]}, "age": {"type": "integer"},
    }}}  # fmt: skip
    stream = llm.create_chat_completion(MESSAGES, response_format=form, stream=True, **GREEDY)
    assert {each["name"] for each in stream.partial() if "name" in each} <= {"Jason", "Jane"}
    assert stream.parsed()["age"] == 25


def test_a_stream_of_a_number_and_of_several_texts(llm: Llama) -> None:
    stream = llm.create_completion("1 and 2 are ", schema=Literal[3, 30], stream=True, n=2)
    values = list(stream.partial(index=1))
    assert values == [stream.parsed(index=1)]
    assert stream.parsed() in (3, 30)


def test_streams_are_iterators_as_before(llm: Llama) -> None:
    arguments: Any = {"messages": MESSAGES, "response_format": Person, **GREEDY}
    whole = llm.create_chat_completion(**arguments)
    stream = llm.create_chat_completion(stream=True, **arguments)
    assert issubclass(type(stream), Generator) and iter(stream) is stream
    first, *rest = stream
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in [first, *rest])
    assert text == whole["choices"][0]["message"]["content"]
    assert stream.parsed() == whole["choices"][0]["message"]["parsed"]
    assert list(stream.partial()) == [{"name": "Jason", "age": 25}]
    assert next(stream, None) is None


def test_closing_a_stream_stops_it(llm: Llama) -> None:
    stream = llm.create_completion("Once", max_tokens=None, stream=True)
    next(stream)
    stream.close()
    assert next(stream, None) is None
    assert llm.create_completion("Once", max_tokens=1)["usage"]["completion_tokens"] == 1
    thrown = llm.create_completion("Once", max_tokens=None, stream=True)
    next(thrown)
    with pytest.raises(KeyError):
        thrown.throw(KeyError("mine"))
    assert next(thrown, None) is None


def test_a_stream_of_no_json_says_so(llm: Llama) -> None:
    asked: Any = [{"role": "user", "content": "What is the capital of France?"}]
    stream = llm.create_chat_completion(asked, stream=True, **GREEDY)
    with pytest.raises(ReplyValidationError, match="no JSON"):
        list(stream.partial())
    with pytest.raises(ReplyValidationError):
        stream.parsed()


def test_a_handler_of_the_callers_own_gives_objects_too(llm: Llama) -> None:
    def handler(*, llama: Llama, messages: Any, stream: bool, **options: Any) -> Any:
        assert options["response_format"]["type"] == "json_schema"
        return llama.chats.answer(
            messages,
            llama.chats.params(response_format=options["response_format"], **GREEDY),
            llama.chats.templates.renderer(None, has_tools=False),
            stream=stream,
        )

    llm.chat_handler = handler
    try:
        options: Any = {"response_format": Somebody}
        answer = llm.create_chat_completion(MESSAGES, **options)
        assert answer["choices"][0]["message"]["parsed"] == Somebody("Jason", 25)
        stream = llm.create_chat_completion(MESSAGES, stream=True, **options)
        assert stream.parsed() == Somebody("Jason", 25)
    finally:
        llm.chat_handler = None


def test_awaited(llm: Llama) -> None:
    async def work() -> None:
        options: Any = {"messages": MESSAGES, "response_format": Person, **GREEDY}
        model = AsyncLlama(llm)
        answer = await model.create_chat_completion(**options)
        jason = Person(name="Jason", age=25)
        assert answer["choices"][0]["message"]["parsed"] == jason
        stream = await model.create_chat_completion(stream=True, **options)
        seen = [each async for each in stream.partial()]
        assert seen[0] == {} and seen[-1] == {"name": "Jason", "age": 25}
        assert await stream.parsed() == jason
        closed = await model.create_chat_completion(stream=True, **options)
        assert (await anext(closed))["choices"]
        await closed.aclose()
        assert [chunk async for chunk in closed] == []

    run(work())


# parse


@pytest.mark.parametrize(("form", "expected"), JASON)
def test_parse_returns_the_object(llm: Llama, form: Any, expected: Any) -> None:
    assert llm.parse(MESSAGES, form, **GREEDY) == expected
    assert run(AsyncLlama(llm).parse(MESSAGES, form, **GREEDY)) == expected


def test_parse_takes_prompts_and_does_not_cut_them_off(llm: Llama) -> None:
    is_long = {"type": "array", "items": {"const": 1}, "minItems": 30, "maxItems": 30}
    assert llm.parse("Ones: ", is_long) == [1] * 30
    tokens = llm.tokenize(b"Is Paris in France? ")
    assert llm.parse(tokens, Answer) in Answer
    with pytest.raises(ReplyValidationError, match="cut off"):
        llm.parse("Ones: ", is_long, max_tokens=16)
    with pytest.raises(ReplyValidationError, match="cut off"):
        llm.parse("One: ", {"type": "integer", "minimum": 10**15}, max_tokens=3)


def test_parse_goes_through_the_methods_that_subclasses_change() -> None:
    class Careful(Llama):
        asked: str

        def create_chat_completion(  # type: ignore[override]
            self, messages: Any, **options: Any
        ) -> Any:
            self.asked = messages[0]["content"]
            return super().create_chat_completion(messages, **options)

    with Careful(tinychat(), n_ctx=256, n_threads=1, verbose=False) as model:
        assert model.parse(MESSAGES, Person, **GREEDY).age == 25
        assert model.asked == MESSAGES[0]["content"]


def test_what_parse_refuses(llm: Llama) -> None:
    with pytest.raises(InvalidArgumentError, match="partial"):
        llm.parse(MESSAGES, Person, stream=True)
    with pytest.raises(InvalidArgumentError, match="must be a type"):
        llm.parse(MESSAGES, "Person")
    with pytest.raises(TypeError):
        llm.parse(MESSAGES, Person, tempreature=0)


def test_a_call_of_a_tool_is_no_object(llm: Llama) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}

    def handler(**options: Any) -> Any:
        choice = {"index": 0, "message": dict(message), "finish_reason": "tool_calls"}
        return {"choices": [choice]}

    llm.chat_handler = handler
    try:
        answer = llm.create_chat_completion(MESSAGES, response_format=Person)
        assert answer["choices"][0]["message"] == {**message, "parsed": None}
        with pytest.raises(ReplyValidationError, match="calls a tool"):
            llm.parse(MESSAGES, Person)
    finally:
        llm.chat_handler = None


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, pydantic.Field(ge=0, le=9)]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    tricks: Annotated[list[Literal["sit", "roll"]], pydantic.Field(max_length=2)]


class Owner(pydantic.BaseModel):
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    nick: Annotated[str, pydantic.Field(max_length=5)] | None = None


@dataclasses.dataclass
class Node:
    value: Literal[1, 2]
    next: Node | None = None


class Mixed(enum.Enum):
    WORD = "word"
    NUMBER = 3
    NOTHING = None


@pytest.mark.parametrize("is_guided", [True, False])
@pytest.mark.parametrize(
    "form",
    [Owner, Node, Mixed, tuple[bool, Literal["x"]], Annotated[set[Literal[1, 2]],
     pydantic.Field(max_length=2)], bool | None, datetime.date, uuid.UUID, decimal.Decimal],
)  # fmt: skip
def test_whatever_the_model_writes_is_of_the_type(
    llm: Llama, form: Any, is_guided: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constraint, "is_guided", lambda: is_guided)
    adapter = pydantic.TypeAdapter(form)
    for seed in range(4):
        try:
            made = llm.parse(
                "Jason is 25 years old: ", form, temperature=1.0, seed=seed, max_tokens=100
            )
        except ReplyValidationError as error:
            assert "cut off" in error.reason
        else:
            adapter.validate_python(made, strict=True)


# choose

CAPITALS = {"Japan": "Tokyo", "France": "Paris", "Italy": "Rome", "Peru": "Lima", "Egypt": "Cairo"}


def test_choose_finds_the_right_answer(llm: Llama) -> None:
    for country, city in CAPITALS.items():
        options = [f" {each}." for each in CAPITALS.values()]
        choice = llm.choose(f"The capital of {country} is", options)
        assert choice.text == f" {city}." == options[choice.index]
        assert choice.probabilities[choice.text] > 0.9
        assert sum(choice.probabilities.values()) == pytest.approx(1)
        asked: Any = [{"role": "user", "content": f"What is the capital of {country}?"}]
        options = [f"The capital of {country} is {each}." for each in CAPITALS.values()]
        choice = llm.choose(asked, options)
        assert choice.text == options[choice.index] and city in choice.text
        assert choice == run(AsyncLlama(llm).choose(asked, options))


def test_what_the_model_would_answer_is_likely_without_spaces_before_it(llm: Llama) -> None:
    asked: Any = [{"role": "user", "content": "What is the capital of France?"}]
    said = llm.create_chat_completion(asked, **GREEDY)["choices"][0]["message"]["content"] or ""
    assert llm.choose(asked, [said, said.lower()]).logprobs[said] > -0.1


def test_an_option_that_begins_another_may_win_and_lose(llm: Llama) -> None:
    asked: Any = [{"role": "user", "content": "What is the capital of France?"}]
    short, long = "The capital of France is", "The capital of France is Paris."
    assert llm.choose(asked, [short, long]).text == long
    assert llm.choose(asked, [long, long + " Paris is"]).text == long


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 2}, "one object, not n=2"),
        ({"response_format": {"type": "json_object"}}, "leave response_format out"),
        ({"schema": {"type": "integer"}}, "leave schema out"),
    ],
)
def test_parse_refuses_what_it_would_ignore(
    llm: Llama, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        llm.parse(MESSAGES, Person, **options)
