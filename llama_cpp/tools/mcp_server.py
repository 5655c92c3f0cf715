"""``MCPServer``: the tools of a server that speaks the Model Context Protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError, LlamaError, MCPServerError, ToolError
from .results import ToolContent
from .tool import Tool

if TYPE_CHECKING:
    import os

    from mcp.types import CallToolResult
    from mcp.types import Tool as ToolDescription
    from typing_extensions import Self

    from .mcp_session import MCPSession

START_TIMEOUT = 30.0
"""Seconds until a server has told its tools, where nobody says."""


class MCPServer:
    """An MCP server whose tools a model may call: made by ``stdio`` or ``http``.

    One serves any number of runs, of ``Llama`` and ``AsyncLlama``, until it is closed.

    Args:
        session: The connection.
        prefix: Stands before the names of its tools.

    Raises:
        MCPServerError: A tool has no name, or a schema that is none.
    """

    def __init__(self, session: MCPSession, prefix: str = "") -> None:
        self._session = session
        try:
            self._tools = tuple(_tool(session, each, prefix) for each in session.tools)
        except InvalidArgumentError as error:
            session.close()
            raise MCPServerError(f"the MCP server has a tool that is none: {error}") from error

    @classmethod
    def stdio(
        cls,
        command: str | os.PathLike[str],
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        prefix: str = "",
        timeout: float = START_TIMEOUT,
    ) -> MCPServer:
        """Start a server as a process of its own, which is told by pipes.

        Args:
            command: The program.
            args: Its arguments.
            env: Environment variables, besides the few that are safe to hand on.
            cwd: The folder that it starts in.
            prefix: Stands before the names of its tools.
            timeout: Seconds until it has told its tools.

        Raises:
            MCPServerError: It cannot be started, ended at once, or is no MCP server.
            LlamaError: The mcp package is not installed.
        """
        _check_installed()
        if isinstance(args, str):
            raise InvalidArgumentError(f"args must be a list of texts, not {args!r}")
        from .mcp_session import open_process

        return cls(open_process(command, args, env, cwd, timeout), prefix)

    @classmethod
    def http(
        cls,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        prefix: str = "",
        timeout: float = START_TIMEOUT,
    ) -> MCPServer:
        """Connect to a server that is running somewhere, over streamable HTTP.

        Args:
            url: Its address, like ``http://127.0.0.1:8000/mcp``.
            headers: Sent with each request, like an ``Authorization``.
            prefix: Stands before the names of its tools.
            timeout: Seconds until it has told its tools.

        Raises:
            MCPServerError: It cannot be reached, or is no MCP server.
            LlamaError: The mcp package is not installed.
        """
        _check_installed()
        from .mcp_session import open_url

        return cls(open_url(url, headers, timeout), prefix)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Its tools, as it told them when it was started.

        Raises:
            MCPServerError: It is closed, or has ended.
        """
        self._session.check()
        return self._tools

    def close(self) -> None:
        """End the connection, and the process if there is one."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _tool(session: MCPSession, described: ToolDescription, prefix: str) -> Tool:
    return Tool(
        prefix + described.name,
        described.description or "",
        described.input_schema,
        _Caller(session, described.name).call,
    )


class _Caller:
    """Calls one tool of a server."""

    def __init__(self, session: MCPSession, name: str) -> None:
        self._session = session
        self._name = name

    async def call(self, **arguments: Any) -> ToolContent | Any:
        result = await self._session.call(self._name, arguments)
        content = _content(result)
        if result.is_error:
            texts = [part["text"] for part in content.parts if part["type"] == "text"]
            raise ToolError("\n".join(texts) or "the tool failed, and does not say why")
        # Structured data is told as text too, by servers that do as they should.
        if not content.parts and result.structured_content is not None:
            return result.structured_content
        return content


def _content(result: CallToolResult) -> ToolContent:
    return ToolContent([_part(block) for block in result.content])


def _part(block: Any) -> dict[str, Any]:
    if block.type == "image":
        url = f"data:{block.mime_type};base64,{block.data}"
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "text", "text": _text(block)}


def _text(block: Any) -> str:
    if block.type == "text":
        text: str = block.text
        return text
    if block.type == "resource":
        held: str | None = getattr(block.resource, "text", None)
        return f"[the file {block.resource.uri}, which is no text]" if held is None else held
    if block.type == "resource_link":
        return f"[{block.name}: {block.uri}]"
    return f"[{block.type}, which cannot be shown here]"


def _check_installed() -> None:
    try:
        import mcp.client.client  # noqa: F401
    except ImportError:
        raise LlamaError(
            "the mcp package, 2.3 or later, is needed for this: pip install 'mcp>=2.3'"
        ) from None
