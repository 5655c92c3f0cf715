"""Functions that a model calls: what they are, and the loop that runs them.

``Llama.run`` and ``AsyncLlama.run`` take functions, ``Tool`` and ``MCPServer``.
"""

from __future__ import annotations

from .events import Event, Finished, ModelReply, ReplyDelta, ToolCall, ToolResult
from .loop import AsyncToolRun, Runnable, ToolRun
from .mcp_server import MCPServer
from .results import ToolContent
from .tool import Tool

__all__ = [
    "AsyncToolRun",
    "Event",
    "Finished",
    "MCPServer",
    "ModelReply",
    "ReplyDelta",
    "Runnable",
    "Tool",
    "ToolCall",
    "ToolContent",
    "ToolResult",
    "ToolRun",
]
