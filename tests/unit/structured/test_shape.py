"""``Shape``: schemas of types, and objects of replies, with Pydantic and without."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Optional

import jsonschema
import pydantic
import pytest
import typing_extensions
from typing_extensions import NotRequired

from llama_cpp.errors import InvalidArgumentError, ReplyValidationError
from llama_cpp.structured.shape import Shape


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclasses.dataclass
class Address:
    street: str
    lines: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Person:
    """Somebody."""

    name: str
    age: float
    address: Address | None = None
    colour: Colour = Colour.RED

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a name is needed")


@dataclasses.dataclass
class Node:
    value: int
    next: Optional[Node] = None  # noqa: UP045 - as older programs write it


class Film(typing_extensions.TypedDict):
    title: str
    year: NotRequired[int]


@pytest.fixture(params=["pydantic", "plain"])
def types_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "pydantic", None)
    return str(request.param)


VALUES: list[tuple[Any, str, Any]] = [
    (str, '"a"', "a"),
    (int, "3", 3),
    (float, "3", 3.0),
    (bool, "true", True),
    (None, "null", None),
    (Any, '{"a": 1}', {"a": 1}),
    (Colour, '"green"', Colour.GREEN),
    (Literal["yes", "no"], '"no"', "no"),
    (list[int], "[1, 2]", [1, 2]),
    (Sequence[Colour], '["red"]', [Colour.RED]),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (tuple[int, ...], "[1, 2]", (1, 2)),
    (set[int], "[1, 2]", {1, 2}),
    (dict[str, Colour], '{"a": "red"}', {"a": Colour.RED}),
    (int | None, "null", None),
    (list[str] | None, '["a"]', ["a"]),
    (Person, '{"name": "Jo", "age": 3}', Person("Jo", 3.0)),
    (
        Person,
        '{"name": "Jo", "age": 3.5, "address": {"street": "A", "lines": [1]}, "colour": "green"}',
        Person("Jo", 3.5, Address("A", [1]), Colour.GREEN),
    ),
    (list[Address], '[{"street": "A"}]', [Address("A")]),
    (Node, '{"value": 1, "next": {"value": 2}}', Node(1, Node(2))),
    (Film, '{"title": "M"}', {"title": "M"}),
    (Film, '{"title": "M", "year": 1931}', {"title": "M", "year": 1931}),
]

WRONG: list[tuple[Any, str, str]] = [
    (int, '"a"', ""),
    (bool, "1.5", ""),
    (Colour, '"blue"', ""),
    (Literal[1], '"1"', ""),
    (list[int], '[1, "a"]', "[1]"),
    (list[int], "{}", ""),
    (dict[str, int], '{"a": "b"}', "a"),
    (dict[str, int], "[]", ""),
    (Person, "3", ""),
    (Person, '{"age": 3}', "name"),
    (Person, '{"name": "Jo", "age": "old"}', "age"),
    (list[Address], '[{"street": "A", "lines": ["b"]}]', "[0].lines[0]"),
    (Film, '{"year": 3}', "title"),
    (str, "no JSON", ""),
    (str, '"cut', ""),
]


@pytest.mark.parametrize(("form", "text", "value"), VALUES)
def test_values(types_by: str, form: Any, text: str, value: Any) -> None:
    shape = Shape.of(form)
    jsonschema.Draft202012Validator.check_schema(shape.schema)
    jsonschema.validate(json.loads(text), shape.schema)
    made = shape.parse(text)
    assert made == value and type(made) is type(value)


@pytest.mark.parametrize(("form", "text", "field"), WRONG)
def test_wrong_values(types_by: str, form: Any, text: str, field: str) -> None:
    with pytest.raises(ReplyValidationError) as caught:
        Shape.of(form).parse(text)
    assert caught.value.text == text
    assert caught.value.field == field
    assert caught.value.reason and caught.value.reason in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("form", [Person, list[Person], Film, Node])
def test_objects_have_no_other_fields(types_by: str, form: Any) -> None:
    schema = Shape.of(form).schema
    objects = [schema, *schema.get("$defs", {}).values()]
    closed = [each["additionalProperties"] for each in objects if "properties" in each]
    assert closed and not any(closed)


def test_a_check_of_the_class_names_its_reason(types_by: str) -> None:
    with pytest.raises(ReplyValidationError, match="a name is needed"):
        Shape.of(Person).parse('{"name": "", "age": 1}')


def test_what_has_no_schema_is_refused(types_by: str) -> None:
    class Opaque:
        pass

    for form in (Opaque, 3, "Person", ["a", "b"], Person("Jo", 1)):
        with pytest.raises(InvalidArgumentError):
            Shape.of(form)


def test_without_pydantic_the_error_says_what_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(InvalidArgumentError, match="install pydantic"):
        Shape.of(bytes)
    with pytest.raises(InvalidArgumentError, match="keys that are no texts"):
        Shape.of(dict[int, str])
    with pytest.raises(InvalidArgumentError, match="JSON cannot say"):
        Shape.of(Literal[b"a"])
    with pytest.raises(ReplyValidationError, match="no such field"):
        Shape.of(Film).parse('{"title": "M", "director": "Lang"}')
    with pytest.raises(ReplyValidationError, match="no array of 2"):
        Shape.of(tuple[int, int]).parse("[1]")


def test_fields_that_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    broken = dataclasses.make_dataclass("Broken", [("a", "Nowhere")])
    with pytest.raises(InvalidArgumentError, match="Nowhere"):
        Shape.of(broken)


class Account(pydantic.BaseModel):
    name: str = pydantic.Field(alias="user-name")
    pin: int = pydantic.Field(ge=1000)
    extra: dict[str, int] = {}

    @pydantic.field_validator("pin")
    @classmethod
    def _is_odd(cls, pin: int) -> int:
        if pin % 2 == 0:
            raise ValueError("a pin is odd")
        return pin


def test_pydantic_models() -> None:
    shape = Shape.of(Account)
    assert shape.name == "Account"
    assert shape.schema["properties"]["pin"]["minimum"] == 1000
    assert shape.schema["additionalProperties"] is False
    assert shape.schema["properties"]["extra"]["additionalProperties"] == {"type": "integer"}
    made = shape.parse('{"user-name": "jo", "pin": 1001}')
    assert isinstance(made, Account) and made.name == "jo"


def test_a_validator_that_no_grammar_knows_names_its_field() -> None:
    text = '{"user-name": "jo", "pin": 1002}'
    with pytest.raises(ReplyValidationError, match="field pin is wrong.*a pin is odd") as caught:
        Shape.of(Account).parse(text)
    assert caught.value.field == "pin" and caught.value.text == text


def test_several_wrong_fields_are_counted() -> None:
    with pytest.raises(ReplyValidationError, match=r"and 1 more"):
        Shape.of(Account).parse('{"pin": 1}')


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 5}}}


def test_schemas() -> None:
    shape = Shape.of(SCHEMA)
    assert shape.schema == SCHEMA
    assert shape.parse('{"n": 10}') == {"n": 10}
    with pytest.raises(ReplyValidationError) as caught:
        shape.parse('{"n": 11}')
    assert caught.value.field == "n"


def test_a_schema_is_not_fetched_from_an_address() -> None:
    shape = Shape.of({"$ref": "http://localhost:9/schema.json"})
    with pytest.raises(ReplyValidationError, match="localhost:9"):
        shape.parse("1")


def test_schemas_without_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert Shape.of(SCHEMA).parse('{"n": 11}') == {"n": 11}
    with pytest.raises(ReplyValidationError, match="no JSON"):
        Shape.of(SCHEMA).parse("{")


def test_cut_off_replies_say_so() -> None:
    with pytest.raises(ReplyValidationError, match="cut off.*larger max_tokens"):
        Shape.of(Person).parse('{"name": "J', "length")
    with pytest.raises(ReplyValidationError, match="the number may go on"):
        Shape.of(int).parse("12", "length")
    with pytest.raises(ReplyValidationError, match="JSON"):
        Shape.of(dict[str, int]).parse('{"a": 12', "length")
    assert Shape.of(list[int]).parse("[12]", "length") == [12]
    with pytest.raises(ReplyValidationError, match=r"cut off .* by its timeout or deadline"):
        Shape.of(Person).parse('{"name": "J', "timeout")


def test_long_names_are_left_out() -> None:
    constrained = Annotated[list[bool], pydantic.Field(max_length=3, description="long" * 20)]
    with pytest.raises(ReplyValidationError, match="is no value of the type"):
        Shape.of(constrained).parse("3")
    with pytest.raises(ReplyValidationError, match=r"is no list\[int\]"):
        Shape.of(list[int]).parse("3")


@pytest.mark.parametrize(
    "response_format",
    [
        None, {}, {"type": "text"}, {"type": "json_object"},
        {"type": "json_object", "schema": {"type": "object"}},
        {"type": "json_schema", "json_schema": {"schema": {}}},
    ],
)  # fmt: skip
def test_forms_of_openai_are_left_alone(response_format: Any) -> None:
    assert Shape.of_response_format(response_format) is None


@pytest.mark.parametrize("schema", [SCHEMA, {"enum": ["a"]}, {"$ref": "#/$defs/a", "$defs": {}}])
def test_schemas_as_response_formats(schema: Any) -> None:
    shape = Shape.of_response_format(schema)
    assert shape is not None
    assert shape.response_format["json_schema"]["schema"] == schema


def test_types_as_response_formats() -> None:
    shape = Shape.of_response_format(Film)
    assert shape is not None
    form = shape.response_format
    assert form["type"] == "json_schema" and form["json_schema"]["name"] == "Film"
