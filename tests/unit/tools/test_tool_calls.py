"""One call: what comes back, whatever a tool does."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from media_bytes import image_part, noise, png
from tool_kit import blocking

from llama_cpp.errors import ToolError
from llama_cpp.tools import Tool, ToolCall, ToolContent, ToolResult
from llama_cpp.tools.calls import ToolCaller


def in_a_thread(caller: ToolCaller, call: ToolCall) -> ToolResult:
    return caller.start(call)()


def in_a_task(caller: ToolCaller, call: ToolCall) -> ToolResult:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, caller.run(call)).result()


WAYS = pytest.mark.parametrize("way", [in_a_thread, in_a_task])
Way = Callable[[ToolCaller, ToolCall], ToolResult]


def called(
    way: Way, function: Any, arguments: Any = None, timeout: float | None = 60, **seen: bool
) -> ToolResult:
    tool = Tool.of(function, name="f")
    caller = ToolCaller({"f": tool}, timeout, sees_images=seen.get("sees_images", False))
    return way(caller, ToolCall("id", "f", {} if arguments is None else arguments))


async def greet(name: str) -> str:
    await asyncio.sleep(0)
    return f"Hello {name}"


@dataclass
class Point:
    x: int


@WAYS
@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("a text", "a text"),
        (None, "null"),
        ({"ö": [1, 2.5, True]}, '{"ö":[1,2.5,true]}'),
        (Point(1), '{"x":1}'),
        (float("nan"), '"NaN"'),
        ("half \ud83d", "half ?"),
    ],
)
def test_results(way: Way, value: Any, content: str) -> None:
    result = called(way, lambda: value)
    assert (result.content, result.is_error) == (content, False)
    assert result.message == {"role": "tool", "tool_call_id": "id", "content": content}


@WAYS
def test_asynchronous_functions(way: Way) -> None:
    assert called(way, greet, {"name": "Anna"}).content == "Hello Anna"
    assert called(way, lambda: greet("Bert")).content == "Hello Bert"


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@WAYS
@pytest.mark.parametrize(
    ("function", "said"),
    [
        (raising(ValueError("no such city")), "ValueError: no such city"),
        (raising(KeyError()), "KeyError"),
        (raising(ToolError("the text for the model")), "the text for the model"),
        (raising(SystemExit(1)), "SystemExit: 1"),
        (raising(StopIteration()), "StopIteration"),
        (raising(ValueError("\ud83d")), "ValueError: ?"),
        (object, "the tool returned a object, which cannot be written as JSON"),
        (circle, "the tool returned a list, which cannot be written as JSON"),
        (lambda: b"\xff", "the tool returned a bytes, which cannot be written as JSON"),
    ],
    ids=str,
)
def test_what_goes_wrong_is_the_result(way: Way, function: Any, said: str) -> None:
    result = called(way, Tool("f", "", {"type": "object"}, function).function)
    assert result.is_error
    assert isinstance(result.content, str)
    assert result.content.startswith(said)


@WAYS
def test_a_coroutine_that_cancels_itself_is_a_result(way: Way) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert called(way, cancelled).is_error


@WAYS
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("g", {}, "there is no tool 'g': there are 'f'"),
        ("f", "{not", "the arguments must be a JSON object, not '{not'"),
        ("f", [1], "the arguments must be a JSON object, not [1]"),
        ("f", {}, "the arguments are wrong: name: Missing required argument"),
    ],
)
def test_calls_that_are_wrong(way: Way, name: str, arguments: Any, said: str) -> None:
    caller = ToolCaller({"f": Tool.of(greet)}, 60, sees_images=False)
    result = way(caller, ToolCall("id", name, arguments))
    assert (result.content, result.is_error) == (said, True)


@WAYS
def test_a_function_that_hangs_is_given_up(way: Way) -> None:
    released = threading.Event()
    result = called(way, blocking(released.wait), timeout=0.05)
    released.set()
    assert result.content == "the tool took longer than 0.05 seconds"
    assert result.is_error


@WAYS
def test_a_coroutine_that_hangs_is_cancelled(way: Way) -> None:
    ended = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    assert called(way, hang, timeout=0.05).content == "the tool took longer than 0.05 seconds"
    assert ended.wait(60)


@WAYS
@pytest.mark.parametrize("sees_images", [True, False])
def test_images(way: Way, sees_images: bool) -> None:
    image = image_part(png(noise(1)))
    content = ToolContent([{"type": "text", "text": "Look:"}, image])
    result = called(way, lambda: content, sees_images=sees_images)
    if sees_images:
        assert result.content == [{"type": "text", "text": "Look:"}, image]
    else:
        assert result.content == "Look:\n[an image, which this model cannot see]"


def test_tools_see_context_variables() -> None:
    variable = contextvars.ContextVar("variable", default="none")

    def run() -> ToolResult:
        variable.set("mine")
        return called(in_a_thread, lambda: variable.get())

    assert contextvars.copy_context().run(run).content == "mine"


def test_results_without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Tool("f", "", {"type": "object"}, lambda value: json.loads(value))
    caller = ToolCaller({"f": tool}, 60, sees_images=False)
    monkeypatch.setitem(__import__("sys").modules, "pydantic_core", None)
    assert caller.start(ToolCall("", "f", {"value": '{"ö": 1}'}))().content == '{"ö": 1}'
    assert caller.start(ToolCall("", "f", {"value": "NaN"}))().is_error
