"""An MCP server that runs as a process of its own: its tools answer, fail, hang and die.

Its argument is a port to serve HTTP at; without one it is told by pipes.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult
from media_bytes import noise, png

server = MCPServer("kit", log_level="WARNING")


@server.tool()
def get_weather(city: str) -> str:
    """Get the weather of a city"""
    return f"sunny, {len(city)} degrees"


@server.tool()
def measure(city: str) -> dict[str, Any]:
    """Measure the name of a city"""
    return {"city": city, "letters": len(city)}


@server.tool()
def structured() -> CallToolResult:
    """Give data without text"""
    return CallToolResult(content=[], structured_content={"letters": 4})


@server.tool(structured_output=False)
def draw() -> list[Any]:
    """Draw something"""
    return ["a picture", Image(data=png(noise(1)), format="png")]


@server.tool()
def fail() -> str:
    """Fail"""
    raise ToolError("no weather on Sundays")


@server.tool()
def hang() -> str:
    """Take a long time"""
    time.sleep(600)
    return "late"


@server.tool()
def die() -> str:
    """End the server"""
    sys.stderr.write("dying as told\n")
    sys.stderr.flush()
    os._exit(3)


if __name__ == "__main__":
    if sys.argv[1:]:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
