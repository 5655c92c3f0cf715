"""Ten minutes of clients that mean harm: do those that mean well notice?

Run it with ``.venv/bin/python benchmarks/soak.py [--minutes 10] [--model model.gguf]``. It starts
our server, lets it warm up, measures sixteen good clients alone, and then beside six that never
read their answers, four that send headers for ever and two that send prompts of 50 MB. Some of the
good ones leave in the middle, as people do. No request of a good client may be lost, the memory of
the server has to be the same in the end, and the time to the first token may double at most.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from llama_cpp.models import tinychat

HOST = "127.0.0.1"
START_SECONDS = 120
SETTLE_SECONDS = 3
N_GOOD, N_DEAF, N_ENDLESS, N_HUGE = 16, 6, 4, 2
CANCELS = 0.15
HUGE_BYTES = 50_000_000
HUGE = json.dumps({"prompt": "word " * (HUGE_BYTES // 5)}).encode()
# Shares of the time: warming up, and the good clients alone. The rest is beside the others.
WARM_UP, ALONE = 0.1, 0.3
RSS_GROWTH_MAX, P99_RATIO_MAX = 0.05, 2.0


@dataclass
class Phase:
    """What clients saw in a part of the time."""

    first_token: list[float] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.first_token, n=100)[98]


class Clients:
    """Threads that do the same again and again until they are told to stop.

    Args:
        port: The server's.
        phase: Is told what they see.
    """

    def __init__(self, port: int, phase: Phase) -> None:
        self.port = port
        self.phase = phase
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, count: int, act: Callable[[Clients, random.Random], None]) -> None:
        for number in range(count):
            choose = random.Random(f"{act.__name__} {number}")
            self._threads.append(threading.Thread(target=self._repeat, args=(act, choose)))
            self._threads[-1].start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def rest(self, seconds: float) -> bool:
        """Wait; whether to go on."""
        return not self._over.wait(seconds)

    def _repeat(self, act: Callable[[Clients, random.Random], None], choose: random.Random) -> None:
        while self.rest(0):
            act(self, choose)


def asks(clients: Clients, choose: random.Random) -> None:
    """Stream a completion, and note when its first token comes; or leave in the middle."""
    phase, count = clients.phase, choose.randrange(8, 48)
    leaves_after = choose.randrange(1, count) if choose.random() < CANCELS else None
    prompt = f"Once upon a time there were {choose.randrange(10**6)} foxes."
    body = {"prompt": prompt, "max_tokens": count, "ignore_eos": True, "stream": True}
    connection = http.client.HTTPConnection(HOST, clients.port, timeout=120)
    started, n_events, line = time.perf_counter(), 0, b""
    try:
        connection.request(
            "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        if response.status != 200:
            raise OSError(f"{response.status} {response.read(300)!r}")
        for line in response:
            if b'"error"' in line:
                raise OSError(line.decode())
            if line.startswith(b"data: {"):
                if not n_events:
                    phase.first_token.append(time.perf_counter() - started)
                n_events += 1
                if n_events == leaves_after:
                    phase.done["left"] += 1
                    return
            if line == b"data: [DONE]\n":
                phase.done["answered"] += 1
                return
        raise OSError(f"the stream ends with {line!r}")
    except (OSError, http.client.HTTPException) as error:
        phase.lost.append(repr(error))
    finally:
        connection.close()


def never_reads(clients: Clients, choose: random.Random) -> None:
    """Ask for a long stream, and wait until the server gives up."""
    body = json.dumps({"prompt": "Once", "max_tokens": 900, "ignore_eos": True, "stream": True})
    with socket.socket() as connection, suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((HOST, clients.port))
        connection.sendall(post_head(f"Content-Length: {len(body)}") + body.encode())
        while clients.rest(0.5):
            connection.sendall(b"\r\n")  # fails when it is given up
    clients.phase.done["deaf clients given up"] += 1


def sends_headers(clients: Clients, choose: random.Random) -> None:
    """Send headers for ever, by drops or in floods."""
    drips = choose.random() < 0.5
    with suppress(OSError), socket.create_connection((HOST, clients.port)) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n")
        while clients.rest(0.05 if drips else 0):
            connection.sendall(b"X-Header: a\r\n" if drips else b"x" * (1 << 16))
    clients.phase.done["endless heads refused"] += 1
    clients.rest(0.1)


def sends_a_huge_prompt(clients: Clients, choose: random.Random) -> None:
    """Send a prompt that fits into no context."""
    connection = http.client.HTTPConnection(HOST, clients.port, timeout=120)
    with suppress(OSError, http.client.HTTPException):  # the server may close before all is sent
        connection.request("POST", "/v1/completions", HUGE, {"Content-Type": "application/json"})
        clients.phase.done[f"huge prompts with status {connection.getresponse().status}"] += 1
    connection.close()
    clients.rest(1)


def post_head(header: str) -> bytes:
    lines = ("POST /v1/completions HTTP/1.1", "Host: localhost", "Content-Type: application/json")
    return "\r\n".join((*lines, header, "", "")).encode()


@contextmanager
def running_server(model: str, arguments: list[str]) -> Iterator[tuple[int, psutil.Process]]:
    """Run our server; yield its port and its process."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", model, "--host", HOST,
               "--port", str(port), "--access_log", "false", "--n_ctx", "1024",
               "--n_parallel", "24", "--max_body_bytes", str(len(HUGE)), *arguments]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            for _ in range(START_SECONDS * 10):
                with suppress(OSError):
                    socket.create_connection((HOST, port)).close()
                    break
                if process.poll() is not None:
                    raise SystemExit(f"the server did not start:\n{log.read_text()}")
                time.sleep(0.1)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def measured(port: int, seconds: float, *, beside_bad_ones: bool) -> Phase:
    """Let the good clients ask, alone or beside the bad ones."""
    phase = Phase()
    clients = Clients(port, phase)
    clients.start(N_GOOD, asks)
    if beside_bad_ones:
        clients.start(N_DEAF, never_reads)
        clients.start(N_ENDLESS, sends_headers)
        clients.start(N_HUGE, sends_a_huge_prompt)
    clients.rest(seconds)
    clients.stop()
    return phase


def settled_rss(process: psutil.Process) -> int:
    """The memory of the server when what was running has ended."""
    time.sleep(SETTLE_SECONDS)
    return int(process.memory_info().rss)


def main() -> int:
    """Print the table; fail where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--model", default=tinychat())
    parser.add_argument("--arguments", default="", help="More flags of the server.")
    given = parser.parse_args()
    seconds = given.minutes * 60
    with running_server(given.model, given.arguments.split()) as (port, process):
        # All that the server does once, it has done: the bad ones' requests too.
        measured(port, seconds * WARM_UP, beside_bad_ones=True)
        before = settled_rss(process)
        alone = measured(port, seconds * ALONE, beside_bad_ones=False)
        beside = measured(port, seconds * (1 - WARM_UP - ALONE), beside_bad_ones=True)
        after = settled_rss(process)
    lost = [*alone.lost, *beside.lost]
    growth, ratio = after / before - 1, beside.p99 / alone.p99
    bad = sorted((kind, beside.done[kind]) for kind in beside.done.keys() - alone.done.keys())
    kinds = ", ".join(f"{count} {kind}" for kind, count in bad)
    print("| | alone | beside the bad ones | limit |")
    print("|---|---|---|---|")
    for what, kind in (("were answered", "answered"), ("left in the middle", "left")):
        print(f"| good clients that {what} | {alone.done[kind]} | {beside.done[kind]} | |")
    print(f"| good requests lost | {len(alone.lost)} | {len(beside.lost)} | 0 |")
    p50 = [statistics.median(phase.first_token) * 1e3 for phase in (alone, beside)]
    print(f"| first token, median, ms | {p50[0]:.0f} | {p50[1]:.0f} | |")
    print(
        f"| first token, p99, ms | {alone.p99 * 1e3:.0f} | {beside.p99 * 1e3:.0f} "
        f"({ratio:.2f}) | {P99_RATIO_MAX} |"
    )
    print(
        f"| memory, MB | {before / 1e6:.0f} | {after / 1e6:.0f} ({growth:+.1%}) "
        f"| {RSS_GROWTH_MAX:+.0%} |"
    )
    print(f"\nBeside the bad ones: {kinds}.")
    for each in lost[:5]:
        print(f"lost: {each}")
    return int(bool(lost) or growth > RSS_GROWTH_MAX or ratio > P99_RATIO_MAX)


if __name__ == "__main__":
    sys.exit(main())
