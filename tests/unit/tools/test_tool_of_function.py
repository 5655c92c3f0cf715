"""Functions as tools: their signature and docstring as a schema, arguments checked against it."""

from __future__ import annotations

import enum
import functools
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field

from llama_cpp.errors import InvalidArgumentError, LlamaError, ToolError
from llama_cpp.tools import Tool
from llama_cpp.tools.docstrings import described


class Unit(enum.Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


@dataclass
class Place:
    city: str
    country: str = "Norway"


class Span(BaseModel):
    days: int = Field(ge=1, description="How many days")


def forecast(
    place: Place,
    unit: Unit = Unit.CELSIUS,
    *,
    span: Span | None = None,
    detail: Literal["low", "high"] = "low",
    limit: Annotated[float, Field(gt=0)] = 1.0,
) -> str:
    """Tell the weather.

    Of a place.

    Args:
        place: Where.
        unit: How it is measured,
            in one of two.
    """
    return f"{place} {unit} {span} {detail} {limit}"


NUMPY = """Add.

Parameters
----------
a : int
    The first.
b : int
    The second.
"""
SPHINX = """Add.

:param a: The first.
:param b: The second.
"""


def test_a_signature_becomes_a_schema() -> None:
    tool = Tool.of(forecast)
    function = tool.as_openai["function"]
    assert (function["name"], function["description"]) == (
        "forecast",
        "Tell the weather.\n\nOf a place.",
    )
    parameters = function["parameters"]
    jsonschema.Draft202012Validator.check_schema(parameters)
    assert parameters["required"] == ["place"]
    assert set(parameters["properties"]) == {"place", "unit", "span", "detail", "limit"}
    assert parameters["properties"]["place"]["description"] == "Where."
    assert "title" not in parameters["properties"]["detail"]
    assert parameters["properties"]["detail"]["enum"] == ["low", "high"]
    jsonschema.validate({"place": {"city": "Oslo"}, "unit": "kelvin"}, parameters)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"place": {"city": "Oslo"}, "limit": 0}, parameters)


def test_arguments_get_the_types_of_the_function() -> None:
    given = {"place": {"city": "Oslo"}, "unit": "kelvin", "span": {"days": 2}, "limit": 3}
    positional, named = Tool.of(forecast).checked(given)
    assert positional == ()
    assert named == {
        "place": Place("Oslo"),
        "unit": Unit.KELVIN,
        "span": Span(days=2),
        "detail": "low",
        "limit": 3.0,
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "place: Missing"),
        ({"place": {}}, "place.city: Field required"),
        ({"place": {"city": "Oslo"}, "extra": 1}, "extra: Unexpected"),
        ({"place": {"city": "Oslo"}, "span": {"days": 0}, "limit": -1}, "span.days: .*; limit: "),
    ],
)
def test_wrong_arguments_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError, match=f"the arguments are wrong: .*{said}"):
        Tool.of(forecast).checked(given)


@pytest.mark.parametrize("docstring", [NUMPY, SPHINX], ids=["numpy", "sphinx"])
def test_docstrings_of_other_styles(docstring: str) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    add.__doc__ = docstring
    tool = Tool.of(add)
    properties = tool.parameters["properties"]
    assert tool.description == "Add."
    assert [properties[name]["description"] for name in "ab"] == ["The first.", "The second."]


class Clock:
    """What can be called, and has a method."""

    def at(self, city: str) -> str:
        """Tell the time."""
        return city

    def __call__(self, hour: int) -> int:
        """Set the time."""
        return hour


def nothing(**options: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "name", "description", "parameters"),
    [
        (Clock().at, "at", "Tell the time.", ["city"]),
        (Clock(), "Clock", "Set the time.", ["hour"]),
        (functools.partial(Clock().at, city="Oslo"), "at", "Tell the time.", ["city"]),
        (nothing, "nothing", "", []),
    ],
    ids=["method", "object", "partial", "keywords"],
)
def test_whatever_can_be_called(
    function: Any, name: str, description: str, parameters: list[str]
) -> None:
    tool = Tool.of(function)
    assert (tool.name, tool.description) == (name, description)
    assert [*tool.parameters["properties"]] == parameters


def test_names_and_descriptions_can_be_given() -> None:
    tool = Tool.of(lambda city: city, name="weather", description="Tell the weather.")
    assert tool.as_openai["function"]["name"] == "weather"
    assert tool.as_openai["function"]["description"] == "Tell the weather."


def of_unknown(place: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def of_object(clock: Clock) -> None: ...
def by_place(a: int, /) -> None: ...
def many(*numbers: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (3, "a tool is a function"),
        (lambda: 1, "a lambda has no name"),
        (of_unknown, "'of_unknown' have no JSON schema: name 'Nowhere'"),
        (of_object, "'of_object' have no JSON schema"),
        (by_place, "'by_place' has parameters without a name"),
        (many, "'many' has parameters without a name"),
        (print, "'print' have no JSON schema"),
        (max, "'max' have no JSON schema"),
    ],
)
def test_what_cannot_be_a_tool(function: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        Tool.of(function)


def test_a_tool_by_hand_is_checked_against_its_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tool = Tool("double", "Double a number", schema, lambda n: 2 * n)
    assert tool.checked({"n": 2}) == ((), {"n": 2})
    with pytest.raises(ToolError, match="the arguments are wrong: n: 'x' is not of type"):
        tool.checked({"n": "x"})


def test_a_schema_fetches_nothing() -> None:
    schema = {"type": "object", "properties": {"n": {"$ref": "http://127.0.0.1:9/n.json"}}}
    with pytest.raises(ToolError, match=r"has a \$ref to http://127"):
        Tool("f", "", schema, print).checked({"n": 1})


@pytest.mark.parametrize(
    "wrong", [("", {}, print), ("f", {"type": "string"}, print), ("f", None, print), ("f", {}, 1)]
)
def test_a_tool_by_hand_needs_all_its_parts(wrong: tuple[Any, ...]) -> None:
    name, schema, function = wrong
    with pytest.raises(InvalidArgumentError, match="needs a"):
        Tool(name, "", {"type": "object"} if schema == {} else schema, function)


def test_a_tool_by_hand_needs_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema.validators", None)
    with pytest.raises(LlamaError, match="pip install jsonschema"):
        Tool("f", "", {"type": "object"}, print).checked({})


def test_without_docstring_parser_the_text_is_the_docstring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "docstring_parser", None)
    assert described(forecast).text.startswith("Tell the weather.\n\nOf a place.\n\nArgs:\n")
