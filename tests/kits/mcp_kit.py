"""An MCP server to run as a process: its tools answer, fail, hang and die.

Its argument is a port to serve HTTP at; without one it is told by pipes.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
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
    print("dying as told", file=sys.stderr, flush=True)
    os._exit(3)


if __name__ == "__main__":
    if sys.argv[1:]:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
