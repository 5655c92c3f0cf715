"""Tools that run, with a model that was trained to call them, and a real MCP server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mcp_processes import started

from llama_cpp import AsyncLlama, Llama
from llama_cpp.errors import InvalidArgumentError
from llama_cpp.models import tinychat
from llama_cpp.tools import (
    Event,
    Finished,
    MCPServer,
    ModelReply,
    ReplyDelta,
    Runnable,
    Tool,
    ToolCall,
    ToolResult,
)

WEATHER = [{"role": "user", "content": "What is the weather in Oslo?"}]
TIME = [{"role": "user", "content": "What time is it in Lima?"}]
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 100}


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    with Llama(tinychat(), n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False) as model:
        yield model


@pytest.fixture(scope="module")
def server() -> Iterator[MCPServer]:
    with started() as running:
        yield running


def get_time(city: str) -> str:
    """Get the time of a city

    Args:
        city: Where.
    """
    return {"Lima": "12:30"}[city]


def send_message(person: str, text: str) -> str:
    """Send a message to a person"""
    return f"told {person} {text}"


async def tell_time(city: str) -> str:
    """Get the time of a city"""
    await asyncio.sleep(0)
    return get_time(city)


def test_two_functions_and_an_mcp_server(llm: Llama, server: MCPServer) -> None:
    tools: list[Runnable] = [get_time, send_message, server]
    for question, name, city, content, answer in (
        (WEATHER, "get_weather", "Oslo", "sunny, 4 degrees", "It is 4 degrees in Oslo."),
        (TIME, "get_time", "Lima", "12:30", "It is 12:30 in Lima."),
    ):
        events = [*llm.run(question, tools, **GREEDY)]
        first, call, result, second, last = events
        assert isinstance(first, ModelReply)
        assert isinstance(call, ToolCall)
        assert (call.name, call.arguments) == (name, {"city": city})
        assert result == ToolResult(call, content)
        assert isinstance(second, ModelReply)
        assert second.finish_reason == "stop"
        assert isinstance(last, Finished)
        assert (last.reason, last.text) == ("stop", answer)
        roles = [each["role"] for each in last.messages]
        assert roles == ["user", "assistant", "tool", "assistant"]


def test_tasks_run_the_same(llm: Llama, server: MCPServer) -> None:
    tools: list[Runnable] = [Tool.of(tell_time, name="get_time"), send_message, server]

    async def both() -> list[str]:
        model = AsyncLlama(llm)
        runs = [model.run(question, tools, **GREEDY) for question in (WEATHER, TIME)]
        return [last.text for last in await asyncio.gather(*[run.result() for run in runs])]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, both()).result() == [
            "It is 4 degrees in Oslo.",
            "It is 12:30 in Lima.",
        ]


def without_deltas(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, ReplyDelta)]


def alike(event: Event) -> Any:
    """An event without what differs from call to call."""
    if isinstance(event, ModelReply):
        response = event.response
        return event.step, response["object"], event.message["content"], event.finish_reason
    return type(event), getattr(event, "text", None), getattr(event, "content", None)


def test_streamed_replies_are_the_same(llm: Llama) -> None:
    whole = [*llm.run(TIME, [get_time], **GREEDY)]
    events = [*llm.run(TIME, [get_time], stream=True, **GREEDY)]
    assert [*map(alike, without_deltas(events))] == [*map(alike, whole)]
    deltas = [event for event in events if isinstance(event, ReplyDelta)]
    assert {event.step for event in deltas} == {1, 2}
    texts = [event.delta.get("content") or "" for event in deltas if event.step == 2]
    assert len(texts) > 2
    assert "".join(texts) == "It is 12:30 in Lima."

    async def in_a_task() -> list[Event]:
        return [
            event async for event in AsyncLlama(llm).run(TIME, [get_time], stream=True, **GREEDY)
        ]

    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(asyncio.run, in_a_task()).result()
    assert [*map(alike, without_deltas(found))] == [*map(alike, whole)]
    assert [event.delta for event in found if isinstance(event, ReplyDelta)][-2] == deltas[-2].delta


def test_leaving_a_streamed_reply_stops_it(llm: Llama) -> None:
    with llm.run(TIME, [get_time], stream=True, **GREEDY) as run:
        assert isinstance(next(run), ReplyDelta)
    assert [*run] == []
    assert llm.run(TIME, [get_time], **GREEDY).result().text == "It is 12:30 in Lima."


def test_errors_go_back_to_the_model_and_the_instance_stays_usable(llm: Llama) -> None:
    released = threading.Event()

    def get_weather(city: str) -> str:
        """Get the weather of a city"""
        raise ConnectionError(f"no station in {city}")

    def hang(city: str) -> str:
        released.wait()
        return city

    slow = Tool.of(hang, name="get_weather", description="Get the weather of a city")
    for tool, said in ((get_weather, "ConnectionError: no station in Oslo"), (slow, "longer than")):
        events = [*llm.run(WEATHER, [tool], tool_timeout=0.1, **GREEDY)]
        results = [each for each in events if isinstance(each, ToolResult)]
        assert results
        assert all(each.is_error and said in each.content for each in results)
        assert isinstance(events[-1], Finished)
    released.set()
    assert llm.run(TIME, [get_time], **GREEDY).result().text == "It is 12:30 in Lima."


def test_a_demanded_call_is_made_once(llm: Llama) -> None:
    last = llm.run(
        [{"role": "user", "content": "Lima?"}], [get_time], tool_choice="required", **GREEDY
    ).result()
    assert [each["role"] for each in last.messages][:3] == ["user", "assistant", "tool"]
    assert last.reason == "stop"


def test_a_template_without_tools(server: MCPServer) -> None:
    with Llama(
        tinychat(), n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False, chat_format="chatml"
    ) as llm:
        last = llm.run(
            WEATHER, [get_time, server], tool_choice="required", max_steps=1, **GREEDY
        ).result()
    assert last.reason == "max_steps"
    assert [each["role"] for each in last.messages] == ["user", "assistant", "tool"]


def test_what_cannot_go_on_raises(llm: Llama) -> None:
    with pytest.raises(InvalidArgumentError, match="two tools have the name 'get_time'"):
        llm.run(TIME, [get_time, get_time])
    with pytest.raises(InvalidArgumentError, match="messages is empty"):
        llm.run([], [get_time]).result()
    with pytest.raises(TypeError, match="functions"):
        llm.run(TIME, [get_time], functions=[])  # type: ignore[call-arg]
