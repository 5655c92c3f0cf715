"""``Connection``: uvicorn's HTTP connection, which waits for its client no longer than it may."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from dataclasses import dataclass
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

_LOGGER = logging.getLogger("llama_cpp.server")


@dataclass(frozen=True)
class ConnectionLimits:
    """How long to wait for a client.

    Args:
        send_timeout: Seconds in which it has to take something of what is sent.
    """

    send_timeout: float


def connection_type(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """Return the protocol for uvicorn's configuration."""
    return type("LimitedConnection", (Connection,), {"limits": limits})


class Connection(HttpToolsProtocol):
    """A connection to a client that may be slow, silent or malicious.

    ``connection_type`` sets the limits.
    """

    limits: ClassVar[ConnectionLimits]

    _send_timer: asyncio.TimerHandle | None = None
    _n_unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._unanswered: list[RequestResponseCycle] = []
        # Whatever waits to be sent pauses the writer: then it only shrinks, as the client reads.
        transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: nobody waits for answers any more."""
        _cancel(self._send_timer)
        for cycle in self._unanswered:  # uvicorn tells the last of pipelined requests only
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        super().on_headers_complete()
        self._unanswered = [each for each in self._unanswered if not each.response_complete]
        self._unanswered.append(self.cycle)

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._watch_sending()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        _cancel(self._send_timer)

    def _watch_sending(self) -> None:
        self._n_unsent = self.transport.get_write_buffer_size()
        self._send_timer = self.loop.call_later(self.limits.send_timeout, self._check_sending)

    def _check_sending(self) -> None:
        if self.transport.get_write_buffer_size() < self._n_unsent:
            self._watch_sending()
            return
        _LOGGER.info(
            "client=%s read nothing for %g seconds: its connection is closed",
            (self.client or ("-",))[0], self.limits.send_timeout,
        )  # fmt: skip
        self._abort()

    def _abort(self) -> None:
        """Forget the client: the system does not keep for it what it did not read either."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
