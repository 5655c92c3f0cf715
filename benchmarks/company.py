"""What is left of the speed in company: other models, other processes, busy loops, a quota.

Run it with ``.venv/bin/python benchmarks/company.py [MODEL]``; ten rounds take about eight minutes.
Every figure is a share of what the first model writes alone in the same round, so that only the
company counts, not the machine. ``worst`` is the worst round against the median of all.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from plot import plot_file, save_bars

from llama_cpp.llama import Llama
from llama_cpp.models import tinychat
from llama_cpp.native.threads import usable_cores

ROUNDS = 10
SECONDS = float(os.environ.get("COMPANY_SECONDS", 2.0))
PROMPT = "Once upon a time"
TEXT = "A sentence about nothing in particular, as long as those that people search for. " * 4
_QUOTA = Path("/sys/fs/cgroup")


class Speed(NamedTuple):
    """What one model did: tokens (or texts) per second, and the 99th percentile between two, in ms."""

    rate: float
    p99: float


# A process with models


def serve_models(paths: list[str], n_threads: int) -> None:
    """Load models and run those whose numbers each line of stdin lists, all at once."""
    with ExitStack() as stack:
        runs = []
        for path in paths:
            kind, _, file = path.partition(":")
            llm = stack.enter_context(
                Llama(file, n_ctx=2048, n_threads=n_threads, n_threads_batch=n_threads,
                      embedding=kind == "embed", verbose=False)
            )  # fmt: skip
            runs.append((embed if kind == "embed" else write, llm))
        print("ready", flush=True)
        for line in sys.stdin:
            chosen = [runs[int(number)] for number in line.split()]
            speeds: list[Speed | None] = [None] * len(chosen)

            def run(i: int, chosen=chosen, speeds=speeds) -> None:  # type: ignore[no-untyped-def]
                work, llm = chosen[i]
                speeds[i] = work(llm)

            threads = [threading.Thread(target=run, args=(i,)) for i in range(len(chosen))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(json.dumps(speeds), flush=True)


def write(llm: Llama) -> Speed:
    """Stream text for a while."""
    times = []
    for _ in llm(PROMPT, max_tokens=2000, temperature=0, ignore_eos=True, stream=True):
        times.append(time.perf_counter())
        if times[-1] - times[0] > SECONDS:
            break
    return speed_of(times)


def embed(llm: Llama) -> Speed:
    """Embed texts, one at a time, for a while."""
    times = [time.perf_counter()]
    while times[-1] - times[0] < SECONDS:
        llm.embed(TEXT)
        times.append(time.perf_counter())
    return speed_of(times)


def speed_of(times: list[float]) -> Speed:
    gaps = sorted(later - earlier for earlier, later in zip(times, times[1:]))
    return Speed(len(gaps) / sum(gaps), 1000 * gaps[int(0.99 * len(gaps))])


class Models:
    """A process with models, as seen from here."""

    def __init__(self, paths: list[str], n_threads: int, wrapper: list[str] | None = None) -> None:
        command = [*(wrapper or []), sys.executable, __file__, "--serve", str(n_threads), *paths]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._read()

    def start(self, *numbers: int) -> None:
        assert self._process.stdin
        print(*numbers, file=self._process.stdin, flush=True)

    def speeds(self) -> list[Speed]:
        return [Speed(*each) for each in json.loads(self._read())]

    def run(self, *numbers: int) -> list[Speed]:
        self.start(*numbers)
        return self.speeds()

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a process with models ended")
        return line

    def __enter__(self) -> Models:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Processes that never rest."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


# Kinds of company


def measure(path: str, rounds: int) -> dict[str, list[tuple[float, float, float]]]:
    """By kind of company, for each round: the shares of all and of the slowest, and p99 in ms."""
    n_cores = usable_cores()
    results: dict[str, list[tuple[float, float, float]]] = {}
    chat = f"chat:{path}"

    def note(name: str, alone: list[Speed], speeds: list[Speed]) -> None:
        shares = [each.rate / base.rate for each, base in zip(speeds, alone)]
        p99 = max(each.p99 for each in speeds[:1])
        results.setdefault(name, []).append((sum(shares), min(shares), p99))

    with ExitStack() as stack:
        company = stack.enter_context(Models([chat] * 4 + [f"embed:{path}"], n_cores))
        other = stack.enter_context(Models([chat], n_cores))
        small = stack.enter_context(Models([f"chat:{tinychat()}"], n_cores))
        for _ in range(rounds):
            (alone,), (embeds,) = company.run(0), company.run(4)
            (tiny,) = small.run(0)
            note("alone", [alone], [alone])
            note("2 models", [alone] * 2, company.run(0, 1))
            note("4 models", [alone] * 4, company.run(0, 1, 2, 3))
            note("chat + embedding", [alone, embeds], company.run(0, 4))
            other.start(0)
            note("2 processes", [alone] * 2, company.run(0) + other.speeds())
            small.start(0)
            note("chat + tinychat, 2 processes", [alone, tiny], company.run(0) + small.speeds())
            with busy_loops(n_cores):
                note(f"{n_cores} busy loops", [alone], company.run(0))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=tinychat(), help="a GGUF file")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--plot", type=plot_file, metavar="FILE", help="draw the figures too")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options, paths = parser.parse_known_args()
    if options.serve:
        serve_models([options.model, *paths], options.serve)
        return
    results = measure(options.model, options.rounds)
    print(f"{'':30} {'share':>6} {'worst':>6} {'slowest':>8} {'p99 ms':>8} {'worst':>6}")
    for name, rounds in results.items():
        share, least, p99 = (statistics.median(column) for column in zip(*rounds))
        worst_p99 = max(each[2] for each in rounds)
        worst = min(each[0] for each in rounds)
        print(f"{name:30} {share:6.2f} {worst / share:6.2f} {least:8.2f} {p99:8.1f}"
              f" {worst_p99 / p99:6.2f}")  # fmt: skip
    if options.plot:
        bars = {
            name: {"share": statistics.median(r[0] for r in rounds)}
            for name, rounds in results.items()
        }
        save_bars(options.plot, "In company", "share of the speed alone", bars)


if __name__ == "__main__":
    main()
