"""The connection to an MCP server, on an event loop of its own, for threads and tasks alike."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import httpx2
from mcp import MCPError, StdioServerParameters, stdio_client
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CONNECTION_CLOSED, CallToolResult, Tool

from ..errors import MCPServerError

_log = logging.getLogger("llama_cpp.tools")

CONNECT_TIMEOUT = 30.0
"""Seconds until a server at an address takes a request."""

CLOSE_TIMEOUT = 10.0
"""Seconds that a server has to end; its process is killed before."""

LAST_WORDS_TIMEOUT = 0.2
"""Seconds until the last lines of a process that has ended are there."""

_HAS_ENDED = "has ended: start it again"


class MCPSession:
    """A server that can be called from any thread.

    Args:
        name: What to call it in errors.
        connect: Makes the connection, on the session's loop.
        timeout: Seconds until it has told its tools.
        last_words: Returns the last lines that it logged, where somebody listens.

    Attributes:
        tools: What it has.

    Raises:
        MCPServerError: It cannot be started or reached.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], AbstractAsyncContextManager[Client]],
        timeout: float,
        last_words: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._name = name
        self._connect = connect
        self._last_words = last_words
        self._opened: Future[list[Tool]] = Future()
        self._end: str | None = None
        self._runs = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live()), name="llama-mcp", daemon=True
        )
        self._thread.start()
        self._runs.wait()
        try:
            self.tools = self._opened.result(timeout)
        except BaseException as error:
            is_late = not self._opened.done()
            self.close()
            if not isinstance(error, Exception):
                raise
            told = f"has not told its tools within {timeout:g} seconds"
            raise self._error(told if is_late else f"cannot be used: {_reason(error)}") from error

    def check(self) -> None:
        """Check that it can be called.

        Raises:
            MCPServerError: It is closed, or has ended.
        """
        if self._end is not None:
            raise self._error(self._end)

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Call a tool, from any loop. Cancelling the task cancels the call.

        Raises:
            MCPServerError: The server is closed, has ended, or does not answer as it should.
        """
        self.check()
        called = self._client.call_tool(tool, dict(arguments))
        future = asyncio.run_coroutine_threadsafe(called, self._loop)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self.check()  # closed meanwhile: it is the call that was cancelled, not who waits
            raise
        except MCPError as error:
            if error.code != CONNECTION_CLOSED:
                raise self._error(f"refuses the call: {error.message}") from error
            self._end = self._end or _HAS_ENDED
            raise self._error(self._end) from error
        except Exception as error:
            raise self._error(f"does not answer as it should: {_reason(error)}") from error

    def close(self) -> None:
        """End the connection."""
        self._end = "was closed"
        if self._thread.is_alive():
            with suppress(RuntimeError):  # the loop has just ended by itself
                self._loop.call_soon_threadsafe(self._stop)
            self._thread.join(CLOSE_TIMEOUT)

    async def _live(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._loop = asyncio.get_running_loop()
        self._task = task
        self._closing = asyncio.Event()
        self._runs.set()
        try:
            async with self._connect() as client:
                self._client = client
                self._opened.set_result(await _all_tools(client))
                await self._closing.wait()
        except BaseException as error:
            if not self._opened.done():
                self._opened.set_exception(error)
            else:
                _log.warning("%s: %s", self._name, _reason(error))
        finally:
            self._end = self._end or _HAS_ENDED

    def _stop(self) -> None:
        if self._opened.done():
            self._closing.set()  # a cancelled task would not wait for the process to end
        else:
            self._task.cancel()

    def _error(self, what: str) -> MCPServerError:
        return MCPServerError(f"{self._name} {what}", self._last_words())


def open_process(
    command: str | os.PathLike[str],
    args: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
    timeout: float,
) -> MCPSession:
    """Start a server; see ``MCPServer.stdio``."""
    name = f"the MCP server {os.fspath(command)!r}"
    parameters = StdioServerParameters(
        command=os.fspath(command),
        args=[*map(str, args)],
        env=None if env is None else dict(env),
        cwd=None if cwd is None else os.fspath(cwd),
    )
    stderr = _Stderr(name)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        with stderr.file:
            async with Client(stdio_client(parameters, errlog=stderr.file)) as client:
                stderr.file.close()  # the process has its own, whose end is then that of the text
                yield client

    return MCPSession(name, connect, timeout, stderr.last_words)


def open_url(url: str, headers: Mapping[str, str] | None, timeout: float) -> MCPSession:
    """Connect to a server; see ``MCPServer.http``."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        # A server may take its time to answer, but not to be reached.
        limits = httpx2.Timeout(CONNECT_TIMEOUT, read=None)
        async with (
            httpx2.AsyncClient(headers=dict(headers or {}), timeout=limits) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            yield client

    return MCPSession(f"the MCP server at {url}", connect, timeout)


class _Stderr:
    """What a process writes to its standard error goes to the log.

    Args:
        name: The process.

    Attributes:
        file: For the process to write to.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: deque[str] = deque(maxlen=10)
        reader, writer = os.pipe()
        self.file = os.fdopen(writer, "w")
        self._thread = threading.Thread(
            target=self._follow, args=(reader,), name="llama-mcp-stderr", daemon=True
        )
        self._thread.start()

    def last_words(self) -> list[str]:
        """Return the last lines."""
        # It ends with the process, whose last lines may be on their way.
        self._thread.join(LAST_WORDS_TIMEOUT)
        return [*self._lines]

    def _follow(self, reader: int) -> None:
        with open(reader, encoding="utf-8", errors="replace") as file:
            for line in file:
                self._lines.append(line.rstrip())
                _log.info("%s: %s", self._name, line.rstrip())


async def _all_tools(client: Client) -> list[Tool]:
    tools: list[Tool] = []
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            return tools


def _reason(error: BaseException) -> str:
    # Task groups wrap what happened in them.
    while isinstance(inner := getattr(error, "exceptions", None), tuple) and inner:
        error = inner[0]
    return f"{type(error).__name__}: {error}"
