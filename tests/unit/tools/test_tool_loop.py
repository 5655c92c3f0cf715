"""The loop, with a model whose replies are written down: events, messages, ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tool_kit import QUESTION, ScriptedModel, blocking, calling, conversation, saying

from llama_cpp.errors import ClosedError, InvalidArgumentError
from llama_cpp.tools import (
    AsyncToolRun,
    Event,
    Finished,
    ModelReply,
    Runnable,
    Tool,
    ToolCall,
    ToolResult,
    ToolRun,
)
from llama_cpp.tools.loop import Conversation


def double(n: int) -> int:
    """Double a number."""
    return 2 * n


def fail() -> None:
    raise ValueError("no luck")


def in_order(talk: Conversation, model: ScriptedModel) -> list[Event]:
    return [*ToolRun(talk, model.answer)]


def asynchronously(talk: Conversation, model: ScriptedModel) -> list[Event]:
    async def events() -> list[Event]:
        return [event async for event in AsyncToolRun(talk, model.async_answer)]

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, events()).result()


WAYS = pytest.mark.parametrize("way", [in_order, asynchronously])
Way = Callable[[Conversation, ScriptedModel], list[Event]]


@WAYS
def test_every_step_is_an_event(way: Way) -> None:
    first = calling(("double", {"n": 2}), ("fail", {}))
    model = ScriptedModel(first, saying("It is 4."))
    events = way(conversation([double, fail], temperature=0), model)
    calls = [ToolCall("call_0", "double", {"n": 2}), ToolCall("call_1", "fail", {})]
    results = [
        ToolResult(calls[0], "4"),
        ToolResult(calls[1], "ValueError: no luck", is_error=True),
    ]
    messages = [
        *QUESTION,
        first["choices"][0]["message"],
        *[each.message for each in results],
        {"role": "assistant", "content": "It is 4."},
    ]
    assert events == [
        ModelReply(1, first),
        *calls,
        *results,
        ModelReply(2, saying("It is 4.")),
        Finished("stop", "It is 4.", messages),
    ]
    assert [asked["messages"] for asked in model.asked] == [QUESTION, messages[:-1]]
    tools = [Tool.of(double).as_openai, Tool.of(fail).as_openai]
    assert [(asked["tools"], asked["temperature"]) for asked in model.asked] == [(tools, 0)] * 2


@WAYS
def test_calls_of_one_reply_run_at_once(way: Way) -> None:
    both = threading.Barrier(2, timeout=60)
    tools = [Tool.of(blocking(both.wait), name=name) for name in ("a", "b")]
    events = way(conversation(tools), ScriptedModel(calling(("a", {}), ("b", {})), saying("")))
    assert [each.content for each in events if isinstance(each, ToolResult)] == ["late", "late"]


def test_coroutines_of_one_reply_run_at_once() -> None:
    async def events() -> list[Event]:
        met = asyncio.Event()

        async def wait() -> str:
            await met.wait()
            return "met"

        async def release() -> str:
            met.set()
            return "released"

        model = ScriptedModel(calling(("wait", {}), ("release", {})), saying(""))
        return [e async for e in AsyncToolRun(conversation([wait, release]), model.async_answer)]

    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(asyncio.run, events()).result()
    assert [each.content for each in found if isinstance(each, ToolResult)] == ["met", "released"]


@WAYS
def test_results_come_in_the_order_of_the_calls(way: Way) -> None:
    second = threading.Event()

    def release() -> str:
        second.set()
        return "second"

    def first() -> str:
        second.wait(60)
        return "first"

    model = ScriptedModel(calling(("first", {}), ("release", {})), saying(""))
    events = way(conversation([first, release]), model)
    contents = [each.content for each in events if isinstance(each, ToolResult)]
    assert contents == ["first", "second"]


@WAYS
def test_a_call_that_hangs_keeps_nobody(way: Way) -> None:
    released = threading.Event()
    tools: list[Runnable] = [Tool.of(blocking(released.wait), name="hang"), double]
    model = ScriptedModel(calling(("hang", {}), ("double", {"n": 1})), saying("Late."))
    events = way(conversation(tools, tool_timeout=0.05), model)
    released.set()
    results = [each for each in events if isinstance(each, ToolResult)]
    assert [each.content for each in results] == ["the tool took longer than 0.05 seconds", "2"]
    assert events[-1].text == "Late."  # type: ignore[union-attr]


@WAYS
def test_the_steps_are_limited(way: Way) -> None:
    model = ScriptedModel(*[calling(("double", {"n": 1}))] * 3)
    events = way(conversation([double], max_steps=2), model)
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.text) == ("max_steps", "")
    assert len(model.asked) == 2
    # Another run can go on: no call is left without its result.
    assert [each["role"] for each in last.messages] == ["user", *["assistant", "tool"] * 2]


@WAYS
@pytest.mark.parametrize("reason", ["length", "timeout"])
def test_calls_of_a_reply_that_was_cut_are_not_run(way: Way, reason: str) -> None:
    model = ScriptedModel(calling(("fail", {}), reason=reason))
    events = way(conversation([fail]), model)
    assert [type(each) for each in events] == [ModelReply, Finished]
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.reason == reason
    assert "tool_calls" not in last.messages[-1]


@WAYS
def test_a_call_that_a_stop_string_cut_is_not_run(way: Way) -> None:
    reply = calling(("fail", '{"a'))
    reply["choices"][0]["message"]["tool_calls"][0]["status"] = "incomplete"
    *_, last = way(conversation([fail]), ScriptedModel(reply))
    assert isinstance(last, Finished)
    assert last.reason == "stop"
    assert "tool_calls" not in last.messages[-1]


@WAYS
def test_arguments_that_are_no_object_do_not_get_into_the_conversation(way: Way) -> None:
    model = ScriptedModel(calling(("double", "{n"), ("double", "[1]")), saying(""))
    events = way(conversation([double]), model)
    results = [each.content for each in events if isinstance(each, ToolResult)]
    assert results == [
        "the arguments must be a JSON object, not '{n'",
        "the arguments must be a JSON object, not [1]",
    ]
    told = model.asked[1]["messages"][1]["tool_calls"]
    assert [each["function"]["arguments"] for each in told] == ["{}", "{}"]


@WAYS
def test_a_demanded_call_is_demanded_once(way: Way) -> None:
    model = ScriptedModel(calling(("double", {"n": 1})), saying("2"))
    way(conversation([double], tool_choice="required"), model)
    assert [asked.get("tool_choice") for asked in model.asked] == ["required", None]


@WAYS
def test_without_tools_there_is_one_reply(way: Way) -> None:
    model = ScriptedModel(saying("Hi"))
    assert way(conversation([]), model)[-1] == Finished(
        "stop", "Hi", [*QUESTION, {"role": "assistant", "content": "Hi"}]
    )
    assert model.asked[0]["tools"] is None


@WAYS
def test_what_the_model_raises_ends_the_run(way: Way) -> None:
    class Broken(ScriptedModel):
        def answer(self, **request: Any) -> Any:
            raise ClosedError("the model is closed")

    with pytest.raises(ClosedError):
        way(conversation([double]), Broken())


def test_the_result_is_the_last_event() -> None:
    run = ToolRun(conversation([]), ScriptedModel(saying("Hi")).answer)
    assert run.result().text == "Hi"
    with pytest.raises(InvalidArgumentError, match="this run is over"):
        run.result()


def test_the_result_is_the_last_event_of_a_task_too() -> None:
    async def twice() -> str:
        run = AsyncToolRun(conversation([]), ScriptedModel(saying("Hi")).async_answer)
        text = (await run.result()).text
        with pytest.raises(InvalidArgumentError, match="this run is over"):
            await run.result()
        return text

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, twice()).result() == "Hi"


def test_leaving_at_a_call_prevents_it() -> None:
    called: list[int] = []

    def note(n: int) -> None:
        called.append(n)

    with ToolRun(conversation([note]), ScriptedModel(calling(("note", {"n": 1}))).answer) as run:
        assert isinstance(next(run), ModelReply)
        assert isinstance(next(run), ToolCall)
    assert [*run] == []
    assert called == []


def test_leaving_at_a_call_prevents_it_in_a_task_too() -> None:
    async def left() -> list[Event]:
        model = ScriptedModel(calling(("fail", {})))
        async with AsyncToolRun(conversation([fail]), model.async_answer) as run:
            await run.__anext__()
            assert isinstance(await run.__anext__(), ToolCall)
        return [event async for event in run]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, left()).result() == []


def test_ending_a_run_cancels_its_tasks() -> None:
    async def ended() -> bool:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def hang() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        model = ScriptedModel(calling(("hang", {})))
        result = asyncio.ensure_future(
            AsyncToolRun(conversation([hang]), model.async_answer).result()
        )
        await begun.wait()
        result.cancel()
        with pytest.raises(asyncio.CancelledError):
            await result
        await asyncio.wait_for(cancelled.wait(), 60)
        return True

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, ended()).result()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_steps": 0}, "max_steps=0 must be an integer from 1"),
        ({"max_steps": "many"}, "max_steps='many'"),
        ({"tool_timeout": 0}, "tool_timeout=0 must be"),
        ({"tool_timeout": "long"}, "tool_timeout='long' must be"),
        ({"tool_timeout": float("nan")}, "tool_timeout=nan must be"),
        ({"tools": [double, Tool.of(fail, name="double")]}, "two tools have the name 'double'"),
        ({"tools": [{"type": "function"}]}, "a tool is a function, a Tool or an MCPServer"),
        ({"tools": double}, "tools must be a list of functions"),
        ({"n": 2}, "n=2: a run goes on with one reply"),
    ],
)
def test_arguments_of_a_run(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        conversation(**{"tools": [], **arguments})


def test_messages_are_a_list() -> None:
    with pytest.raises(InvalidArgumentError, match="messages must be a list of dicts"):
        Conversation("Hi", [], 1, None, sees_images=False, options={})  # type: ignore[arg-type]


def test_the_messages_of_the_caller_stay_as_they_are() -> None:
    before = [dict(each) for each in QUESTION]
    ToolRun(conversation([]), ScriptedModel(saying("Hi")).answer).result()
    assert before == QUESTION
