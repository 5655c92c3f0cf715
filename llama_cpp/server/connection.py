"""``Connection``: uvicorn's HTTP connection, which waits for its client no longer than it may."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .encoding import encoded
from .errors import RequestError, described

_LINGER_SECONDS = 1.0
_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

_LOGGER = logging.getLogger("llama_cpp.server")


@dataclass(frozen=True)
class ConnectionLimits:
    """How long to wait for a client.

    Args:
        send_timeout: Seconds in which it has to take something of what is sent.
        header_timeout: Seconds in which the head of a request has to come.
        body_timeout: Seconds in which its body has to come.
        max_header_bytes: The largest head.
    """

    send_timeout: float
    header_timeout: float
    body_timeout: float
    max_header_bytes: int


def connection_type(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """Return the protocol for uvicorn's configuration."""
    return type("LimitedConnection", (Connection,), {"limits": limits})


class Connection(HttpToolsProtocol):
    """A connection to a client that may be slow, silent or malicious.

    ``connection_type`` sets the limits.
    """

    limits: ClassVar[ConnectionLimits]

    _send_timer: asyncio.TimerHandle | None = None
    _receive_timer: asyncio.TimerHandle | None = None
    _forget_timer: asyncio.TimerHandle | None = None
    _n_unsent = 0
    _n_header_bytes = 0
    _has_parsed = False
    _in_body = False
    _is_refused = False
    _server_ends = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._unanswered: list[RequestResponseCycle] = []
        # Whatever waits to be sent pauses the writer: then it only shrinks, as the client reads.
        # With 0, TLS would pause it when nothing waits.
        transport.set_write_buffer_limits(high=1, low=0)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: nobody waits for answers any more."""
        for timer in (self._send_timer, self._receive_timer, self._forget_timer):
            _cancel(timer)
        for cycle in self._unanswered:  # uvicorn tells the last of pipelined requests only
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        if self._is_refused:
            return
        if self._receive_timer is None:
            self._await_head()
        self._has_parsed = False
        super().data_received(data)
        if not self._has_parsed and not self._in_body:  # it is a part of one long line
            self._count_header(len(data))

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        super().on_message_begin()
        self._n_header_bytes = 0
        if self._receive_timer is None:
            self._await_head()

    def on_url(self, url: bytes) -> None:
        """Take a part of the path."""
        super().on_url(url)
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        self._count_header(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        if self._is_refused:
            return
        super().on_headers_complete()
        self._unanswered = [each for each in self._unanswered if not each.response_complete]
        self._unanswered.append(self.cycle)
        self._in_body = True
        self._await(self.limits.body_timeout, self._body_is_late)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Know that a request is whole."""
        if not self._is_refused:
            super().on_message_complete()
        self._has_parsed = True
        self._in_body = False
        _cancel(self._receive_timer)
        self._receive_timer = None

    def on_response_complete(self) -> None:
        """Know that an answer is whole."""
        super().on_response_complete()
        if self._server_ends and self.transport.is_closing():
            self._close()

    def shutdown(self) -> None:
        """Close a connection on which nothing runs; another one when its answer is whole."""
        self._server_ends = True
        if not self.transport.is_closing():  # asyncio's TLS breaks when it is closed again
            super().shutdown()
        if self.transport.is_closing():
            self._close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, msg)

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._watch_sending()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        _cancel(self._send_timer)

    def _await_head(self) -> None:
        self._n_header_bytes = 0
        self._await(self.limits.header_timeout, self._head_is_late)

    def _await(self, seconds: float, late: Callable[[], None]) -> None:
        _cancel(self._receive_timer)
        self._receive_timer = self.loop.call_later(seconds, late)

    def _head_is_late(self) -> None:
        seconds = self.limits.header_timeout
        if self._n_running:  # nothing is read of the next request meanwhile
            self._await(seconds, self._head_is_late)
        else:
            self._refuse(408, f"the head of a request has to come within {seconds:g} seconds")

    def _body_is_late(self) -> None:
        seconds = self.limits.body_timeout
        if self._n_running > 1:
            self._await(seconds, self._body_is_late)
        elif self.cycle.response_complete:  # it was refused by its head
            self._close()
        else:
            self._refuse(408, f"the body of a request has to come within {seconds:g} seconds")

    @property
    def _n_running(self) -> int:
        """Requests that are not answered yet."""
        return sum(not each.response_complete for each in self._unanswered)

    def _count_header(self, count: int) -> None:
        self._has_parsed = True
        self._n_header_bytes += count
        if self._n_header_bytes > self.limits.max_header_bytes:
            limit = self.limits.max_header_bytes
            self._refuse(431, f"the head of a request may have {limit} bytes at most")

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request that is not read to its end, unless another answer is on its way."""
        if self._is_refused:
            return
        self._is_refused = True
        _cancel(self._receive_timer)
        _LOGGER.info("client=%s status=%d %s", (self.client or ("-",))[0], status, message)
        if any(each.response_started and not each.response_complete for each in self._unanswered):
            self._abort()
            return
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        body = encoded({"error": described(RequestError(status, message))[1]})
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        # To close while the client writes would reset the connection before it has read this.
        self.flow.resume_reading()
        self.loop.call_later(_LINGER_SECONDS, self._close)

    def _close(self) -> None:
        """Close, whether a client of TLS says goodbye too or not: asyncio waits 30 seconds.

        That long is nothing to a server that goes on, and slow clients get all of their answer.
        """
        if not self.transport.is_closing():
            self.transport.close()
        if self.scheme == "https":
            _cancel(self._forget_timer)
            self._forget_timer = self.loop.call_later(_LINGER_SECONDS, self._forget_if_sent)

    def _forget_if_sent(self) -> None:
        if self.transport.get_write_buffer_size():  # there is a time limit for that
            self._close()
        else:
            self.transport.abort()

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
