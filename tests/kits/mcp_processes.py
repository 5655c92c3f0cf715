"""The server of ``mcp_kit``, started."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from llama_cpp.tools import MCPServer

SCRIPT = Path(__file__).with_name("mcp_kit.py")


def started(**options: Any) -> MCPServer:
    """One that is told by pipes."""
    return MCPServer.stdio(sys.executable, [str(SCRIPT)], **options)


@contextmanager
def serving_http() -> Iterator[str]:
    """Serve HTTP until the block ends, and tell the URL."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(SCRIPT), str(port)], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError("the server has ended")
