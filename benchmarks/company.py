"""What is left of the speed in company: other models, other processes, busy loops, half a core.

Run it with ``.venv/bin/python benchmarks/company.py [MODEL]``; ten rounds take about six minutes.
Each figure is a share of what the models do alone in the same round, so that the company counts and
not the machine; ``sum`` adds the shares of all that run at once. The time between tokens is that of
the first model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from plot import plot_file, save_bars

from llama_cpp.llama import Llama
from llama_cpp.models import tinychat
from llama_cpp.native.threads import usable_cores

ROUNDS = 10
SECONDS = 2.0
PROMPT = "Once upon a time"
TEXT = "A sentence about nothing in particular. "
_CPU_CGROUPS = Path("/sys/fs/cgroup/cpu")
_PERIOD_US = 100_000


class Speed(NamedTuple):
    """What a model did: tokens or texts per second, and the 99th percentile between them in ms."""

    rate: float
    p99: float


class Shares(NamedTuple):
    """One round of a kind of company: shares of the speed alone, and times between tokens in ms."""

    sum: float
    least: float
    p99: float
    p99_alone: float


# A process with models.


def serve_models(paths: list[str], n_threads: int) -> None:
    """Load models, and run those whose numbers each line of stdin has, all at once."""
    with ExitStack() as stack:
        runs: list[tuple[Callable[[Llama], Speed], Llama]] = []
        for path in paths:
            kind, _, file = path.partition(":")
            llm = Llama(file, n_ctx=2048, n_threads=n_threads, n_threads_batch=n_threads,
                        verbose=False)  # fmt: skip
            runs.append((embed if kind == "embed" else write, stack.enter_context(llm)))
        print("ready", flush=True)
        for line in sys.stdin:
            speeds = run_at_once([runs[int(number)] for number in line.split()])
            print(json.dumps(speeds), flush=True)


def run_at_once(runs: list[tuple[Callable[[Llama], Speed], Llama]]) -> list[Speed]:
    speeds: dict[int, Speed] = {}

    def run(number: int) -> None:
        work, llm = runs[number]
        speeds[number] = work(llm)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [speeds[number] for number in range(len(runs))]


def write(llm: Llama) -> Speed:
    """Stream text for a while."""
    times: list[float] = []
    for _ in llm(PROMPT, max_tokens=1900, temperature=0, ignore_eos=True, stream=True):
        times.append(time.perf_counter())
        if times[-1] - times[0] > SECONDS:
            break
    return speed_of(times)


def embed(llm: Llama) -> Speed:
    """Embed texts, one after another, for a while."""
    times = [time.perf_counter()]
    while times[-1] - times[0] < SECONDS:
        llm.embed(TEXT)
        times.append(time.perf_counter())
    return speed_of(times)


def speed_of(times: list[float]) -> Speed:
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    return Speed(len(gaps) / sum(gaps), 1000 * gaps[int(0.99 * len(gaps))])


class Models:
    """A process with models, as seen from here."""

    def __init__(self, *paths: str, n_threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, *paths, "--serve", str(n_threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._read()

    def start(self, *numbers: int) -> None:
        assert self.process.stdin
        print(*numbers, file=self.process.stdin, flush=True)

    def speeds(self) -> list[Speed]:
        return [Speed(*each) for each in json.loads(self._read())]

    def run(self, *numbers: int) -> list[Speed]:
        self.start(*numbers)
        return self.speeds()

    def _read(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a process with models ended")
        return line

    def __enter__(self) -> Models:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


# Company.


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


@contextmanager
def quota(process: int, cores: float) -> Iterator[bool]:
    """A limit of time on a process, as containers have it; False where we may not set one."""
    group = _CPU_CGROUPS / "llama-cpp-benchmark"
    try:
        group.mkdir(exist_ok=True)
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(int(cores * _PERIOD_US)))
        (group / "cgroup.procs").write_text(str(process))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        (_CPU_CGROUPS / "cgroup.procs").write_text(str(process))
        with suppress(OSError):
            group.rmdir()


def measure(path: str, rounds: int) -> dict[str, list[Shares]]:
    """The shares of each round, by kind of company."""
    n_cores = usable_cores()
    results: dict[str, list[Shares]] = {}

    def note(name: str, alone: list[Speed], speeds: list[Speed]) -> None:
        shares = [each.rate / base.rate for each, base in zip(speeds, alone, strict=True)]
        row = Shares(sum(shares), min(shares), speeds[0].p99, alone[0].p99)
        results.setdefault(name, []).append(row)

    chat = f"chat:{path}"
    with ExitStack() as stack:

        def models(*paths: str) -> Models:
            return stack.enter_context(Models(*paths, n_threads=n_cores))

        mine, other = models(*[chat] * 4, f"embed:{path}"), models(chat)
        small = models(f"chat:{tinychat()}")
        for number in range(rounds + 1):
            (alone,), (embeds,), (tiny,) = mine.run(0), mine.run(4), small.run(0)
            note("the same once more", [alone], mine.run(0))
            note("2 models", [alone] * 2, mine.run(0, 1))
            note("4 models", [alone] * 4, mine.run(0, 1, 2, 3))
            note("chat and embedding", [alone, embeds], mine.run(0, 4))
            other.start(0)
            note("2 processes", [alone] * 2, mine.run(0) + other.speeds())
            small.start(0)
            note("chat and tinychat, 2 processes", [alone, tiny], mine.run(0) + small.speeds())
            with busy_loops(n_cores):
                note(f"{n_cores} busy loops", [alone], mine.run(0))
            with quota(other.process.pid, 0.5) as limited:
                if limited:
                    note("half a core of quota", [alone], other.run(0))
            if not number:
                results.clear()  # it warmed up
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=[tinychat()], metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--plot", type=plot_file, metavar="FILE", help="draw the figures too")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_models(options.models, options.serve)
        return
    results = measure(options.models[0], options.rounds)
    print(f"{'':31}{'sum':>5} {'worst':>6} {'least':>6}   p99 between tokens, ms: {'median':>7}"
          f" {'worst':>7} {'alone':>6}")  # fmt: skip
    bars = {}
    for name, rows in results.items():
        total, least, p99, p99_alone = (
            statistics.median(column) for column in zip(*rows, strict=True)
        )
        worst = min(row.sum for row in rows)
        print(f"{name:31}{total:5.2f} {worst / total:6.2f} {least:6.2f} {'':26}{p99:7.1f}"
              f" {max(row.p99 for row in rows):7.1f} {p99_alone:6.1f}")  # fmt: skip
        bars[name.replace(" ", "\n", 1)] = {"median": total, "worst round": worst}
    if options.plot:
        save_bars(options.plot, "In company", "sum of shares of the speed alone", bars)


if __name__ == "__main__":
    main()
