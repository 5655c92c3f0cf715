"""Fetching by http: from public addresses only, and within bounds. Servers on this machine."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llama_cpp.chat.media.content import MediaLoader
from llama_cpp.chat.media.fetch import Fetcher
from llama_cpp.errors import InvalidArgumentError, MediaError

HERE = ("127.0.0.1/32",)
BODY = bytes(range(256)) * 8
Reply = Callable[[BaseHTTPRequestHandler], None]


def body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(BODY)


def without_length(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(BODY)


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY) + 1))
    handler.end_headers()
    handler.wfile.write(BODY)


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(BODY)


def missing(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


def to(place: str) -> Reply:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", place)
        handler.end_headers()

    return redirect


class Server:
    """An http server on this machine."""

    def __init__(self) -> None:
        self.pages: dict[str, Reply] = {"/a": body}
        self.asked: list[tuple[str, str | None]] = []
        this = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                this.asked.append((self.path, self.headers["Host"]))
                try:
                    this.pages[self.path](self)
                except OSError:  # the other side has heard enough
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def fetch(url: str, *, bytes_max: int = 1 << 20, timeout: float = 30) -> bytes:
    return Fetcher(HERE, bytes_max, timeout).fetch(url)


@pytest.mark.parametrize("page", [body, without_length])
def test_a_file_is_fetched(page: Reply, server: Server) -> None:
    server.pages["/a%20b?c=%C3%A9"] = page
    assert fetch(f"{server.url}/a b?c=é") == BODY
    assert server.asked == [("/a%20b?c=%C3%A9", f"127.0.0.1:{server.port}")]


def test_nothing_is_fetched_unless_allowed(server: Server) -> None:
    url = f"{server.url}/a"
    with pytest.raises(MediaError, match="allow_remote=True"):
        MediaLoader().load_url(url)
    with pytest.raises(MediaError, match="not public"):
        MediaLoader(allow_remote=True).load_url(url)
    assert not server.asked
    assert MediaLoader(allow_remote=True, networks=HERE).load_url(url) == BODY


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "0.0.0.0", "[::]",
     "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "192.168.0.1", "100.64.0.1", "[fe80::1]",
     "[fc00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(host: str, server: Server) -> None:
    with pytest.raises(MediaError, match=r"not public|cannot be fetched"):
        Fetcher((), 1 << 20, 30).fetch(f"http://{host}:{server.port}/a")
    assert not server.asked


def test_what_is_public() -> None:
    fetcher = Fetcher(("10.1.0.0/16", "fd00::/8"), 1, 1)
    reachable = ["8.8.8.8", "2001:4860:4860::8888", "10.1.2.3", "fd00::1"]
    # The ends of what is special, and what is next to them.
    reachable += [
        "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255",
        "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.167.255.255",
        "198.17.255.255", "198.20.0.0", "223.255.255.255", "2000::", "2001:200::", "2003::",
        "2a00::1", "3fff:1000::", "10.1.0.0",
    ]  # fmt: skip
    others = [
        "0.255.255.255", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.255.255.255",
        "169.254.0.0", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.8", "192.0.0.9",
        "192.0.0.10", "192.0.0.192", "192.0.0.255", "192.88.99.1", "192.168.255.255",
        "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.0", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
        "100::1", "1fff::", "2001:1ff:ffff::", "2001:2::1", "2001:10::1", "2002:7f00:1::",
        "2002:808:808::1", "3fff::1", "4000::", "5f00::1", "fc00::1", "fe80::1",
        "10.2.0.1", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::ffff:8.8.8.8", "2001:db8::1",
        "fec0::1", "ff02::1", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    ]  # fmt: skip
    for address in (*reachable, *others):
        found = fetcher._may_reach(ipaddress.ip_address(address))
        assert found is (address in reachable), address


@pytest.mark.parametrize("networks", [("10.0.0.1/8",), ("everything",), ("",)])
def test_networks_must_be_some(networks: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match="networks="):
        Fetcher(networks, 1, 1)


def test_one_address_that_is_not_public_is_enough(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [("127.0.0.1", server.port), ("127.0.0.2", server.port)]
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    with pytest.raises(MediaError, match=r"127\.0\.0\.2, which is not public"):
        fetch(f"http://example.com:{server.port}/a")
    assert not server.asked


def test_the_address_that_was_checked_is_connected_to(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = socket.getaddrinfo, []

    def resolve(host: str, port: int, *arguments: Any, **named: Any) -> Any:
        asked.append(host)
        first = asked.count("example.com") == 1
        address = ("127.0.0.1" if first else "127.0.0.2") if host == "example.com" else host
        return real(address, port, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert fetch(f"http://example.com:{server.port}/a") == BODY
    assert asked.count("example.com") == 1
    assert server.asked == [("/a", f"example.com:{server.port}")]


def test_another_address_of_the_host_is_tried(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.create_connection
    monkeypatch.setattr(Fetcher, "_addresses", lambda *_: ["127.0.0.9", "127.0.0.1"], raising=True)
    tried: list[str] = []

    def connect(address: tuple[str, int], *arguments: Any, **named: Any) -> Any:
        tried.append(address[0])
        return real(address, *arguments, **named)

    monkeypatch.setattr(socket, "create_connection", connect)
    assert fetch(f"{server.url}/a") == BODY
    assert tried == ["127.0.0.9", "127.0.0.1"]


def test_redirects_are_followed_a_few_times(server: Server) -> None:
    server.pages |= {"/far": to("/near"), "/near": to(f"{server.url}/a"), "/round": to("/round")}
    assert fetch(f"{server.url}/far") == BODY
    with pytest.raises(MediaError, match="more than 5 times"):
        fetch(f"{server.url}/round")
    assert [path for path, _ in server.asked].count("/round") == 6


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("http://127.0.0.2:1/a", "not public"),
        ("//169.254.169.254/latest/meta-data", "not public"),
        ("http://[::1]/", "not public"),
        ("file:///etc/passwd", "something else than http"),
        ("ftp://127.0.0.1/a", "something else than http"),
        ("data:image/png;base64,AAAA", "something else than http"),
        ("http://user:word@127.0.0.1/", "no user"),
        ("http://127.0.0.1:99999/", "no URL"),
    ],
)
def test_redirects_are_checked_like_the_first_address(
    place: str, what: str, server: Server
) -> None:
    server.pages["/there"] = to(place)
    with pytest.raises(MediaError, match=what):
        fetch(f"{server.url}/there")
    assert server.asked == [("/there", f"127.0.0.1:{server.port}")]


@pytest.mark.parametrize(
    ("page", "what"),
    [(missing, "answers 404"), (cut_off, "cannot be fetched"), (endless, "more than 4096 bytes")],
)
def test_what_is_not_there_as_a_whole_is_refused(page: Reply, what: str, server: Server) -> None:
    server.pages["/b"] = page
    with pytest.raises(MediaError, match=what):
        fetch(f"{server.url}/b", bytes_max=4096)


@pytest.mark.parametrize("part", ["silent", "head", "body"])
def test_a_slow_server_is_given_up(part: str) -> None:
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                if part == "body":
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while not done.wait(0.02):
                    try:
                        connection.sendall(b"" if part == "silent" else b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(MediaError, match=r"took more than 0\.3 seconds"):
                fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.3)
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///a", "http://exa mple.com/", "http://a:0/", "http://[::1", "https://\0/",
     "http://x\r\nHost: y/", "http://" + "a" * 300 + "/", "http://\udcff/", "http://nowhere.invalid/"],
)  # fmt: skip
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(MediaError):
        fetch(url)


def test_a_server_that_answers_rubbish_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"hello\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(MediaError, match="cannot be fetched"):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()


def test_https_begins_with_certificates(server: Server) -> None:
    with pytest.raises(MediaError, match="cannot be fetched"):
        fetch(f"https://127.0.0.1:{server.port}/a")
    assert not server.asked
