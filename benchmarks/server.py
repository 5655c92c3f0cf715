"""Clients that stream from our server, and from llama.cpp's own on the same model and threads.

Run it with ``.venv/bin/python benchmarks/server.py``; it takes about six minutes, more if the
machine is busy. ``make llama-server`` builds llama.cpp's server, without which only ours is
measured. Both serve all the time and get the same requests in turn, so that what else goes on hits
them alike, and of the rounds the quietest count. Both are started anew several times, each first in
turn: which memory a process gets lasts as long as it and can make a twentieth of the speed, and who
is started first tends to get the worse. The clients share the processor with the servers: they note
what comes and when, and read it only afterwards.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import math
import random
import selectors
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from plot import plot_file, save_bars
from random_model import ROOT, random_model

HOST = "127.0.0.1"
LLAMA_SERVER = ROOT / "build" / "llama-server" / "bin" / "llama-server"
START_SECONDS = 120.0
SILENT_SECONDS = 300.0
# A round counts as quiet if other programs take less of the processor: half a core lost to one may
# mean a tenth of the speed, for the threads of the engine wait for each other.
QUIET = 0.03
# So many times as many rounds are tried as are asked for.
TRIES = 2
# Ordinary tokens of every vocabulary that has a few thousand.
PROMPT_TOKENS = range(300, 2000)


@dataclass
class Reply:
    """What came over one connection, and when."""

    sent: float
    received: list[tuple[float, bytes]] = field(default_factory=list)

    def body(self) -> Iterator[tuple[float, bytes]]:
        """The pieces without headers and the marks of chunked encoding."""
        rest = b""
        chunked = headers_done = False
        for seconds, data in self.received:
            rest += data
            if not headers_done:
                headers, blank, after = rest.partition(b"\r\n\r\n")
                if not blank:
                    continue
                if headers.split(b" ", 2)[1] != b"200":
                    everything = b"".join(data for _, data in self.received)
                    raise SystemExit(f"a request was refused:\n{everything.decode()}")
                headers_done, rest = True, after
                chunked = b"transfer-encoding: chunked" in headers.lower()
            while chunked:
                size, line_end, after = rest.partition(b"\r\n")
                length = int(size, 16) if line_end else 0
                if not line_end or len(after) < length + 2:
                    break
                yield seconds, after[:length]
                rest = after[length + 2 :]
            if not chunked:
                yield seconds, rest
                rest = b""

    def events(self) -> Iterator[tuple[float, bytes]]:
        """The data of the server-sent events."""
        rest = b""
        for seconds, data in self.body():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    yield seconds, line[5:].strip()


@dataclass
class Completion:
    """What the client of one completion saw, in seconds of one clock."""

    sent: float
    times: list[float]
    n_tokens: int

    @classmethod
    def read(cls, reply: Reply) -> Completion:
        times: list[float] = []
        n_tokens = 0
        for seconds, data in reply.events():
            if data == b"[DONE]":
                continue
            event = json.loads(data)
            if "error" in event:
                raise SystemExit(f"a completion failed: {event['error']}")
            if event.get("usage"):
                n_tokens = event["usage"]["completion_tokens"]
            if any(choice["text"] for choice in event["choices"]):
                times.append(seconds)
        if not times or not n_tokens:
            raise SystemExit("a completion had no text, or did not say how many tokens it has")
        return cls(reply.sent, times, n_tokens)


def exchange(port: int, requests: Sequence[bytes]) -> list[Reply]:
    """Send all requests at once, and take what comes until the server closes the connections."""
    replies = []
    with ExitStack() as open_sockets, selectors.DefaultSelector() as selector:
        for request in requests:
            replies.append(Reply(time.perf_counter()))
            connection = open_sockets.enter_context(socket.create_connection((HOST, port)))
            connection.sendall(request)
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, replies[-1].received)
        while selector.get_map():
            ready = selector.select(SILENT_SECONDS)
            if not ready:
                raise SystemExit(f"the server was silent for {SILENT_SECONDS:.0f} seconds")
            now = time.perf_counter()
            for key, _ in ready:
                # It is ready, and there is one reader: this does not block.
                data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                if data:
                    key.data.append((now, data))
                else:
                    selector.unregister(key.fileobj)
    return replies


def request(prompt: Sequence[int], n_tokens: int, temperature: float) -> bytes:
    body = json.dumps({
        "prompt": prompt, "max_tokens": n_tokens, "temperature": temperature, "seed": 1,
        "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True},
    }).encode()  # fmt: skip
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many are not above."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


@dataclass
class Turn:
    """The completions of one server at one time."""

    completions: Sequence[Completion]
    # How much of the processor programs took that are not of this benchmark.
    disturbance: float

    def speed(self) -> float:
        start = min(completion.sent for completion in self.completions)
        end = max(completion.times[-1] for completion in self.completions)
        return sum(completion.n_tokens for completion in self.completions) / (end - start)

    def steady_speed(self) -> float:
        """From when the last client got its first token until the first one has got all."""
        begin = max(completion.times[0] for completion in self.completions)
        end = min(completion.times[-1] for completion in self.completions)
        inside = sum(
            completion.n_tokens / len(completion.times)
            for completion in self.completions
            for seconds in completion.times
            if begin < seconds <= end
        )
        return inside / (end - begin) if inside else math.nan


def disturbance(together: Mapping[str, Turn]) -> float:
    """Of a round."""
    return max(turn.disturbance for turn in together.values())


def figures(turns: Sequence[Turn]) -> dict[str, float]:
    """By label."""
    completions = [completion for turn in turns for completion in turn.completions]
    firsts = [completion.times[0] - completion.sent for completion in completions]
    gaps = [
        later - before
        for completion in completions
        for before, later in itertools.pairwise(completion.times)
    ]
    return {
        "tokens/s": statistics.median(turn.speed() for turn in turns),
        "tokens/s, all streaming": statistics.median(turn.steady_speed() for turn in turns),
        "first token, ms, median": 1e3 * quantile(firsts, 0.5),
        "first token, ms, p99": 1e3 * quantile(firsts, 0.99),
        "next token, ms, median": 1e3 * quantile(gaps, 0.5),
        "next token, ms, p99": 1e3 * quantile(gaps, 0.99),
    }


@dataclass
class Server:
    port: int
    process: psutil.Process

    def busy_seconds(self) -> float:
        with self.process.oneshot():
            family = [self.process, *self.process.children(recursive=True)]
            return sum(sum(one.cpu_times()[:2]) for one in family)


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def serving(command: Sequence[str]) -> Iterator[Server]:
    """Run a server."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        words = [*command, "--host", HOST, "--port", str(port)]
        with subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT) as server:
            try:
                give_up = time.monotonic() + START_SECONDS
                while not is_healthy(port):
                    if server.poll() is not None or time.monotonic() > give_up:
                        log.seek(0)
                        end = log.read().decode(errors="replace")[-2000:]
                        raise SystemExit(f"{shlex.join(words)} does not serve:\n{end}")
                    time.sleep(0.1)
                yield Server(port, psutil.Process(server.pid))
            finally:
                server.terminate()
                try:
                    server.wait(10)
                except subprocess.TimeoutExpired:
                    server.kill()


def commands(options: argparse.Namespace, model: Path) -> dict[str, list[str]]:
    """How each server is started, with the same room for as many clients."""
    n_parallel = max(options.clients)
    n_ctx = 256 * math.ceil((options.prompt_tokens + options.max_tokens + 1) / 256)
    threads = str(options.threads)
    found = {
        "ours": [
            sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--n_ctx", str(n_ctx),
            "--n_parallel", str(n_parallel), "--n_threads", threads, "--n_threads_batch", threads,
            *shlex.split(options.our_arguments),
        ],
    }  # fmt: skip
    if options.llama_server:
        # Its context is shared out among the clients.
        found["theirs"] = [
            str(options.llama_server), "-m", str(model), "-c", str(n_ctx * n_parallel),
            "-np", str(n_parallel), "-t", threads, "-tb", threads, "--no-ui",
            *shlex.split(options.their_arguments),
        ]  # fmt: skip
    return found


class Neighbours:
    """What other programs than this benchmark's take of the processor, and what its host takes."""

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers.values()
        self._last = self._seconds()

    def _seconds(self) -> tuple[float, float]:
        """What they have taken of the cores, and what there was."""
        times = psutil.cpu_times()._asdict()
        # A guest's time is counted as its user's too.
        idle = ("idle", "iowait", "guest", "guest_nice")
        busy = sum(seconds for kind, seconds in times.items() if kind not in idle)
        own = time.process_time() + sum(server.busy_seconds() for server in self._servers)
        return busy - own, time.perf_counter() * (psutil.cpu_count() or 1)

    def share(self) -> float:
        """Since it was last asked for."""
        (taken_before, all_before), self._last = self._last, self._seconds()
        taken, everything = self._last
        return (taken - taken_before) / (everything - all_before)

    def wait(self, seconds: float) -> None:
        """Until they rest, but no longer than that."""
        give_up = time.monotonic() + seconds
        self.share()
        while time.monotonic() < give_up:
            time.sleep(0.5)
            if self.share() < QUIET:
                break


def measure(
    options: argparse.Namespace, servers: Mapping[str, Server], n_clients: int
) -> list[dict[str, Turn]]:
    """The quietest rounds, each by server."""
    draw = random.Random(n_clients)
    neighbours = Neighbours(servers)

    def requests(n_tokens: int) -> list[bytes]:
        # No two prompts begin alike, so that no cache of prompts helps.
        prompts = [draw.choices(PROMPT_TOKENS, k=options.prompt_tokens) for _ in range(n_clients)]
        return [request(prompt, n_tokens, options.temperature) for prompt in prompts]

    def turn(server: Server, same: Sequence[bytes]) -> Turn:
        # A processor may be slower, or faster, after work than after rest: both begin after rest.
        neighbours.wait(options.patience)
        replies = exchange(server.port, same)
        share = neighbours.share()
        completions = [Completion.read(reply) for reply in replies]
        if any(completion.n_tokens != options.max_tokens for completion in completions):
            raise SystemExit(f"a completion has not {options.max_tokens} tokens")
        return Turn(completions, share)

    for server in servers.values():
        exchange(server.port, requests(8))
    rounds: list[dict[str, Turn]] = []
    n_quiet = 0
    while n_quiet < options.rounds and len(rounds) < TRIES * options.rounds:
        same = requests(options.max_tokens)
        order = list(servers)[:: -1 if len(rounds) % 2 else 1]
        rounds.append({name: turn(servers[name], same) for name in order})
        n_quiet += disturbance(rounds[-1]) < QUIET
    return sorted(rounds, key=disturbance)[: options.rounds]


def print_figures(n_clients: int, turns: Mapping[str, Sequence[Turn]]) -> None:
    of_each = [figures(of_one) for of_one in turns.values()]
    for row, label in enumerate(of_each[0]):
        values = [one[label] for one in of_each]
        line = "".join(f"{value:9.1f}" for value in values)
        if len(values) > 1:
            line += f"{values[0] / values[1]:9.2f}"
        print(f"{'' if row else n_clients:>7} {label:24}{line}")
    shares = [statistics.mean(turn.disturbance for turn in of_one) for of_one in turns.values()]
    print(f"{'':7} {'other programs, %':24}" + "".join(f"{100 * one:9.1f}" for one in shares))
    for name, of_one in turns.items():
        completions = [completion for turn in of_one for completion in turn.completions]
        n_tokens = sum(completion.n_tokens for completion in completions)
        n_pieces = sum(len(completion.times) for completion in completions)
        if n_pieces != n_tokens:
            print(f"{'':7} {name}: {n_tokens} tokens in {n_pieces} pieces")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a GGUF file; else a random one of 0.5 B")
    parser.add_argument("--llama-server", type=Path, metavar="PATH",
                        default=LLAMA_SERVER if LLAMA_SERVER.exists() else None)  # fmt: skip
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2, help="that count, of each start")
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--our-arguments", default="", help="more of them, in one word")
    parser.add_argument("--their-arguments", default="", help="more of them, in one word")
    parser.add_argument("--patience", type=float, default=30, metavar="SECONDS",
                        help="how long a round waits for other programs to rest")  # fmt: skip
    parser.add_argument("--plot", type=plot_file, metavar="FILE", help="draw the speeds too")
    options = parser.parse_args()
    model = options.model or random_model()
    to_start = commands(options, model)
    rounds: dict[int, list[dict[str, Turn]]] = {n_clients: [] for n_clients in options.clients}
    for start in range(options.starts):
        with ExitStack() as running:
            servers = {
                name: running.enter_context(serving(to_start[name]))
                for name in list(to_start)[:: -1 if start % 2 else 1]
            }
            for n_clients in options.clients:
                rounds[n_clients] += measure(options, servers, n_clients)
    heads = [*to_start, "ratio"] if len(to_start) > 1 else to_start
    print(f"{'clients':>7} {'':24}" + "".join(f"{head:>9}" for head in heads))
    bars: dict[str, dict[str, float]] = {}
    for n_clients in options.clients:
        turns = {name: [together[name] for together in rounds[n_clients]] for name in to_start}
        print_figures(n_clients, turns)
        bars[str(n_clients)] = {name: figures(of_one)["tokens/s"] for name, of_one in turns.items()}
    if options.plot:
        save_bars(options.plot, "Streaming completions, by clients", "tokens/s", bars)


if __name__ == "__main__":
    main()
