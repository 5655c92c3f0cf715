"""Tools of MCP servers that are processes of their own."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mcp.types
import pytest
from mcp_processes import serving_http, started
from tool_kit import ScriptedModel, calling, conversation, saying

from llama_cpp.errors import InvalidArgumentError, LlamaError, MCPServerError
from llama_cpp.tools import AsyncToolRun, MCPServer, ToolCall, ToolResult, ToolRun
from llama_cpp.tools.calls import ToolCaller

MEASURED = '{\n  "city": "Oslo",\n  "letters": 4\n}'


@pytest.fixture(scope="module", params=["stdio", "http"])
def server(request: pytest.FixtureRequest) -> Iterator[MCPServer]:
    if request.param == "stdio":
        with started() as told_by_pipes:
            yield told_by_pipes
    else:
        with serving_http() as url, MCPServer.http(url, headers={"X-Kit": "1"}) as at_url:
            yield at_url


def called(
    server: MCPServer, name: str, timeout: float = 60, sees_images: bool = False, **arguments: Any
) -> ToolResult:
    tools = {tool.name: tool for tool in server.tools}
    caller = ToolCaller(tools, timeout, sees_images=sees_images)
    return caller.start(ToolCall("id", name, arguments))()


def test_its_tools_are_described(server: MCPServer) -> None:
    tools = {tool.name: tool for tool in server.tools}
    assert set(tools) == {"get_weather", "measure", "draw", "fail", "hang", "die", "structured"}
    assert tools["get_weather"].description == "Get the weather of a city"
    assert tools["get_weather"].parameters["required"] == ["city"]


@pytest.mark.parametrize(
    ("name", "arguments", "content", "is_error"),
    [
        ("get_weather", {"city": "Oslo"}, "sunny, 4 degrees", False),
        ("measure", {"city": "Oslo"}, MEASURED, False),
        ("structured", {}, '{"letters":4}', False),
        ("draw", {}, "a picture\n[an image, which this model cannot see]", False),
        ("fail", {}, "Error executing tool fail: no weather on Sundays", True),
        ("get_weather", {}, "the arguments are wrong: 'city' is a required property", True),
    ],
)
def test_results(
    server: MCPServer, name: str, arguments: dict[str, Any], content: str, is_error: bool
) -> None:
    result = called(server, name, **arguments)
    assert (result.content, result.is_error) == (content, is_error)


def test_images_are_shown_to_who_sees(server: MCPServer) -> None:
    parts: Any = called(server, "draw", sees_images=True).content
    assert parts[0] == {"type": "text", "text": "a picture"}
    assert parts[1]["type"] == "image_url"
    assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


def test_a_call_that_hangs_is_given_up_and_others_go_on(server: MCPServer) -> None:
    result = called(server, "hang", timeout=0.1)
    assert (result.content, result.is_error) == ("the tool took longer than 0.1 seconds", True)
    assert called(server, "get_weather", city="Lima").content == "sunny, 4 degrees"


def test_threads_and_tasks_share_it(server: MCPServer) -> None:
    def model() -> ScriptedModel:
        calls = calling(("get_weather", {"city": "Oslo"}), ("measure", {"city": "Oslo"}))
        return ScriptedModel(calls, saying("4"))

    async def in_tasks() -> list[Any]:
        run = AsyncToolRun(conversation([server]), model().async_answer)
        return [event async for event in run]

    def in_threads() -> list[Any]:
        return [*ToolRun(conversation([server]), model().answer)]

    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(asyncio.run, in_tasks()), threads.submit(in_threads)]
        for run in runs:
            results = [each for each in run.result() if isinstance(each, ToolResult)]
            assert [each.content for each in results] == ["sunny, 4 degrees", MEASURED]


def test_a_server_that_dies_is_a_result_and_then_an_error(caplog: pytest.LogCaptureFixture) -> None:
    said = f"the MCP server {sys.executable!r} has ended: start it again"
    with caplog.at_level(logging.INFO, "llama_cpp.tools"), started(prefix="kit_") as server:
        model = ScriptedModel(
            calling(("kit_die", {}), ("kit_hang", {})), calling(("kit_fail", {})), saying("Alas.")
        )
        events = [*ToolRun(conversation([server]), model.answer)]
        results = [each for each in events if isinstance(each, ToolResult)]
        assert [(each.content, each.is_error) for each in results] == [(said, True)] * 3
        with pytest.raises(MCPServerError) as raised:
            conversation([server])
    assert raised.value.message == said
    assert raised.value.native_log == ("dying as told",)
    assert "dying as told" in caplog.text


def test_a_server_at_an_address_that_dies_is_a_result_and_then_an_error() -> None:
    with serving_http() as url, MCPServer.http(url) as server:
        caller = ToolCaller({each.name: each for each in server.tools}, 60, sees_images=False)
        for name in ("die", "fail"):
            result = caller.start(ToolCall("id", name, {}))()
            assert result.content == f"the MCP server at {url} has ended: start it again"
            assert result.is_error
        with pytest.raises(MCPServerError, match="has ended"):
            server.tools  # noqa: B018


def test_a_server_that_is_closed_ends_its_calls() -> None:
    server = started()
    begun = threading.Event()

    async def hang() -> Any:
        [tool] = [tool for tool in server.tools if tool.name == "hang"]
        begun.set()
        return await tool.function()

    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(asyncio.run, hang())
        begun.wait()
        server.close()
        with pytest.raises(MCPServerError, match="was closed|has ended"):
            call.result()
    with pytest.raises(MCPServerError, match="was closed"):
        server.tools  # noqa: B018
    server.close()


@pytest.mark.parametrize(
    ("command", "args", "said"),
    [
        ("no-such-program", [], "FileNotFoundError"),
        (sys.executable, ["-c", "raise SystemExit('no configuration')"], "no configuration"),
        (sys.executable, ["-c", "import time; time.sleep(600)"], "has not told its tools within"),
    ],
    ids=["missing", "ends", "silent"],
)
def test_servers_that_do_not_start(command: str, args: list[str], said: str) -> None:
    with pytest.raises(MCPServerError, match="the MCP server") as raised:
        MCPServer.stdio(command, args, timeout=3)
    assert said in str(raised.value)


def test_an_address_where_nobody_is() -> None:
    with pytest.raises(MCPServerError, match="at http://127.0.0.1:9/mcp cannot be used: Connect"):
        MCPServer.http("http://127.0.0.1:9/mcp")


def test_a_tool_without_a_schema_closes_the_connection() -> None:
    class Session:
        tools = (mcp.types.Tool(name="f", input_schema={"type": "string"}),)
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

    session: Any = Session()
    with pytest.raises(MCPServerError, match="a tool that is none: the tool 'f' needs"):
        MCPServer(session)
    assert session.is_closed


def test_arguments_are_a_list() -> None:
    with pytest.raises(InvalidArgumentError, match="args must be a list"):
        MCPServer.stdio(sys.executable, "-m server")


def test_the_package_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.client.client", None)
    with pytest.raises(LlamaError, match="pip install 'mcp>=2.3'"):
        MCPServer.stdio("x")
    with pytest.raises(LlamaError, match="pip install 'mcp>=2.3'"):
        MCPServer.http("http://x")
