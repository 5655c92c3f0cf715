"""Fetching what a URL from anywhere names, without reaching what is not public.

A name is resolved once, every address that it has must be public, and the connection goes to the
address that was checked: nobody can name another one in between. Redirects begin anew.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ...errors import InvalidArgumentError, MediaError
from .addresses import Address, is_public

REDIRECTS_MAX = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 1 << 16
_PATH_SAFE = "/%:@!$&'()*+,;=~-._?"


class Fetcher:
    """Fetches files by http and https.

    Args:
        networks: Networks to connect to besides the public addresses.
        bytes_max: How large a file may be.
        timeout: Seconds that a fetch may take, redirects included.

    Raises:
        InvalidArgumentError: A network is none.
    """

    def __init__(self, networks: Sequence[str], bytes_max: int, timeout: float) -> None:
        try:
            self._networks = [ipaddress.ip_network(network) for network in networks]
        except ValueError as error:
            raise InvalidArgumentError(f"networks={networks!r}: {error}") from None
        self._bytes_max = bytes_max
        self._timeout = timeout

    def fetch(self, url: str) -> bytes:
        """Return the file that a URL names.

        Raises:
            MediaError: It is not there, not public, too large, or takes too long.
        """
        deadline = time.monotonic() + self._timeout
        seen = [url]
        while True:
            try:
                found = self._get(seen[-1], deadline)
            except (OSError, http.client.HTTPException, UnicodeError) as error:
                late = time.monotonic() >= deadline
                why = f"it took more than {self._timeout} seconds" if late else error or "no answer"
                raise MediaError(f"{seen[-1][:200]!r} cannot be fetched: {why}") from None
            if isinstance(found, bytes):
                return found
            if len(seen) > REDIRECTS_MAX:
                raise MediaError(f"{url[:200]!r} redirects more than {REDIRECTS_MAX} times")
            seen.append(urljoin(seen[-1], found))

    def _get(self, url: str, deadline: float) -> bytes | str:
        """Return the file, or where it is now."""
        parts = _split(url)
        host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
        with _Connection(host, port, deadline) as connection:
            connection.open(self._addresses(host, port), secure=parts.scheme == "https")
            target = quote(parts.path or "/", safe=_PATH_SAFE)
            if parts.query:
                target += "?" + quote(parts.query, safe=_PATH_SAFE)
            connection.putrequest("GET", target, skip_accept_encoding=True)
            connection.putheader("User-Agent", "llama-cpp-python")
            connection.putheader("Accept", "image/*, audio/*")
            connection.endheaders()
            response = connection.getresponse()
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                return location
            if response.status != 200:
                raise MediaError(f"{url[:200]!r} answers {response.status} {response.reason}")
            body = self._body(response, url)
            if connection.has_given_up:  # what comes then looks like the end
                raise TimeoutError
            return body

    def _body(self, response: http.client.HTTPResponse, url: str) -> bytes:
        body = bytearray()
        while chunk := response.read1(_CHUNK):
            body += chunk
            if len(body) > self._bytes_max:
                raise MediaError(f"{url[:200]!r} has more than {self._bytes_max} bytes")
        if response.length:
            raise http.client.IncompleteRead(bytes(body), response.length)
        return bytes(body)

    def _addresses(self, host: str, port: int) -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(info[4][0]) for info in found]
        for address in addresses:
            if not self._may_reach(ipaddress.ip_address(address.partition("%")[0])):
                raise MediaError(
                    f"{host} has the address {address}, which is not public: nothing is fetched "
                    "from there"
                )
        return addresses

    def _may_reach(self, address: Address) -> bool:
        return is_public(address) or any(address in network for network in self._networks)


class _Connection(http.client.HTTPConnection):
    """A connection that ends at a deadline, however slowly the other side writes."""

    auto_open = 0  # it would look the name up again

    def __init__(self, host: str, port: int, deadline: float) -> None:
        super().__init__(host, port)
        self._deadline = deadline
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._give_up)
        self._timer.daemon = True
        self._socket: socket.socket | None = None  # the parent forgets its own before the body
        self.has_given_up = False

    def __enter__(self) -> _Connection:
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        self.close()

    def open(self, addresses: Sequence[str], *, secure: bool) -> None:
        """Connect to the first of these addresses that answers, whatever the name says now."""
        for number, address in enumerate(addresses, 1):
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                self._socket = socket.create_connection((address, self.port), timeout=left)
                break
            except OSError:
                if number == len(addresses):
                    raise
        assert self._socket is not None
        if secure:
            self._socket = secured = ssl.create_default_context().wrap_socket(
                self._socket, server_hostname=self.host, do_handshake_on_connect=False
            )
            secured.do_handshake()
        self.sock = self._socket

    def close(self) -> None:
        """Close the connection, and whatever was opened for it."""
        super().close()
        if self._socket is not None:
            self._socket.close()

    def _give_up(self) -> None:
        self.has_given_up = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is not connected any more
                self._socket.shutdown(socket.SHUT_RDWR)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise MediaError(f"{url[:200]!r} is no URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise MediaError(f"{url[:200]!r} redirects to something else than http or https")
    if not parts.hostname or parts.username is not None or port == 0:
        raise MediaError(f"{url[:200]!r} must name a host, and no user")
    return parts
