"""Functions as tools where pydantic is not installed."""

from __future__ import annotations

import enum
import functools
import sys
from typing import Annotated, Any, Literal, Optional

import jsonschema
import pytest

from llama_cpp.errors import InvalidArgumentError, ToolError
from llama_cpp.tools import Tool
from llama_cpp.tools.plain_signature import PlainSignature


class Unit(enum.Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


def forecast(  # type: ignore[no-untyped-def]
    city: str,
    days: int = 1,
    *,
    unit: Unit = Unit.CELSIUS,
    detail: Literal["low", 2] = "low",
    limit: Annotated[float, ["unhashable"]] = 1.0,
    tags: list[str] | None = None,
    more: Optional[dict[str, list[bool]]] = None,  # noqa: UP045 - its form is another one
    anything: Any = None,
    bare: list = [],  # type: ignore[type-arg]  # noqa: B006
    untyped=None,
) -> str:
    """Tell the weather.

    Args:
        city: Where.
    """
    return city


@pytest.fixture(autouse=True)
def _without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp.tools.pydantic_signature", None)


def test_a_signature_becomes_a_schema() -> None:
    tool = Tool.of(forecast)
    assert isinstance(tool._signature, PlainSignature)
    parameters = tool.parameters
    jsonschema.Draft202012Validator.check_schema(parameters)
    assert parameters["required"] == ["city"]
    assert parameters["additionalProperties"] is False
    assert parameters["properties"] == {
        "city": {"type": "string", "description": "Where."},
        "days": {"type": "integer", "default": 1},
        "unit": {"enum": ["celsius", "kelvin"]},
        "detail": {"enum": ["low", 2], "default": "low"},
        "limit": {"type": "number", "default": 1.0},
        "tags": {
            "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
            "default": None,
        },
        "more": {
            "anyOf": [
                {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {"type": "boolean"}},
                },
                {"type": "null"},
            ],
            "default": None,
        },
        "anything": {"default": None},
        "bare": {"type": "array", "items": {}, "default": []},
        "untyped": {"default": None},
    }


@pytest.mark.parametrize(
    ("given", "converted"),
    [
        ({"days": 2.0}, {"days": 2}),
        ({"unit": "kelvin"}, {"unit": Unit.KELVIN}),
        ({"limit": 3}, {"limit": 3.0}),
        ({"detail": 2, "tags": ["a"]}, {"detail": 2, "tags": ["a"]}),
        ({"more": {"a": [True]}, "tags": None}, {"more": {"a": [True]}, "tags": None}),
        ({"anything": [{}], "untyped": 1}, {"anything": [{}], "untyped": 1}),
    ],
)
def test_arguments_get_the_types_of_the_function(
    given: dict[str, Any], converted: dict[str, Any]
) -> None:
    positional, named = Tool.of(forecast).checked({"city": "Oslo", **given})
    assert (positional, named) == ((), {"city": "Oslo", **converted})
    assert [type(each) for each in named.values()][1:] == [
        type(each) for each in converted.values()
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "city: is missing"),
        ({"city": 1}, "city: 1 is no string"),
        ({"city": "", "days": True}, "days: True is no integer"),
        ({"city": "", "days": 1.5}, "days: 1.5 is no integer"),
        ({"city": "", "unit": "rankine"}, "unit: 'rankine' is none of 'celsius', 'kelvin'"),
        ({"city": "", "tags": [1]}, "tags.0: 1 is no string, and tags: [1] is no null"),
        ({"city": "", "more": {"a": [0]}}, "more.a.0: 0 is no boolean, and more: .* is no null"),
        ({"city": "", "bare": {}}, "bare: {} is no array"),
        ({"extra": 1}, "city: is missing; extra: there is no such argument"),
    ],
)
def test_wrong_arguments_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError) as raised:
        Tool.of(forecast).checked(given)
    start, _, rest = f"the arguments are wrong: {said}".partition(".*")
    assert raised.value.message.startswith(start)
    assert raised.value.message.endswith(rest)


def of_bytes(data: bytes) -> None: ...
def of_keys(table: dict[int, str]) -> None: ...
def of_unknown(place: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def by_place(a: int, /) -> None: ...
def many(*numbers: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (of_bytes, "<class 'bytes'> is no plain type: pydantic knows more"),
        (of_keys, "is no plain type"),
        (of_unknown, "name 'Nowhere' is not defined"),
        (by_place, "a: int has no name to be given by"),
        (many, "numbers: int has no name to be given by"),
        (max, "'max' have no JSON schema"),
    ],
)
def test_what_cannot_be_a_tool(function: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        Tool.of(function)


class Clock:
    def __call__(self, hour: int, **options: bool) -> int:
        return hour


def test_whatever_can_be_called() -> None:
    tool = Tool.of(Clock())
    assert [*tool.parameters["properties"]] == ["hour"]
    assert tool.checked({"hour": 1, "loud": True}).named == {"hour": 1, "loud": True}
    with pytest.raises(ToolError, match="loud: 1 is no boolean"):
        tool.checked({"hour": 1, "loud": 1})
    bound = Tool.of(functools.partial(forecast, city="Oslo"))
    assert bound.parameters["required"] == []
