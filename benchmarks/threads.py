"""What worker threads do to speed: pools, polling, a busy neighbour, changing callers.

Run it with ``.venv/bin/python benchmarks/threads.py``; it takes about two minutes. A pool's workers
wait for the next graph by polling for a while (``Llama(poll=...)``) before they sleep. Polling
wins while the cores are ours, and hurts when another process wants one of them.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models import NAMES, model_name, model_paths
from plot import plot_file, save_bars

from llama_cpp import llama_cpp as raw
from llama_cpp.handles import Context, Model
from llama_cpp.llama import Llama
from llama_cpp.native.threads import POLL, usable_cores

N_TOKENS = 200
ROUNDS = 5
POOLS: dict[str, int | None] = {
    "no pool": None, "poll 0": 0, "poll 10": 10, "poll 50": 50, "poll 100": 100,
}  # fmt: skip


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Another process that never rests, on one core."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            time.sleep(0.2)
            yield
        finally:
            neighbour.kill()


def decode(context: Context) -> float:
    """Tokens per second of one-token decodes."""
    pointer: Any = context.pointer
    token = (ctypes.c_int32 * 1)(300)
    context.memory.clear()
    raw.llama_decode(pointer, raw.llama_batch_get_one(token, 1))
    start = time.perf_counter()
    for _ in range(N_TOKENS):
        raw.llama_decode(pointer, raw.llama_batch_get_one(token, 1))
    return N_TOKENS / (time.perf_counter() - start)


def pools(path: Path) -> dict[str, float]:
    """Tokens per second by kind of pool: the best of several rounds, all kinds in turn."""
    n_threads = max(2, usable_cores())
    best = dict.fromkeys(POOLS, 0.0)
    with Model(path) as model:
        for _ in range(ROUNDS):
            for name, poll in POOLS.items():
                params = Context.default_params()
                params.n_ctx = 2 * N_TOKENS
                params.n_threads = params.n_threads_batch = n_threads
                with Context(model, params, poll=POLL if poll is None else poll) as context:
                    if poll is None:
                        context.call(raw.llama_detach_threadpool)
                    best[name] = max(best[name], decode(context))
    return best


def changing_threads(path: Path) -> dict[str, float]:
    """Tokens per second of completions, by who calls."""

    def complete() -> None:
        llm("Q:", max_tokens=N_TOKENS, temperature=0, ignore_eos=True)

    def on_another_thread() -> None:
        thread = threading.Thread(target=complete)
        thread.start()
        thread.join()

    def speed(call: Callable[[], None]) -> float:
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        return N_TOKENS / min(seconds)

    with Llama(str(path), n_ctx=2 * N_TOKENS, verbose=False) as llm:
        complete()
        return {
            "one thread": speed(complete),
            "a new thread each time": speed(on_another_thread),
            "the first thread again": speed(complete),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=model_name, default=NAMES)
    parser.add_argument("--plot", type=plot_file, metavar="FILE", help="draw the figures too")
    options = parser.parse_args()
    paths = model_paths()
    bars: dict[str, dict[str, float]] = {}
    for model in options.models:
        quiet = pools(paths[model])
        with busy_neighbour():
            busy = pools(paths[model])
        measure = quiet[f"poll {POLL}"]
        print(f"\n{model:20} {'quiet':>8} {'ratio':>6} {'busy':>8} {'ratio':>6}   tokens/s")
        for name in POOLS:
            print(f"{name:20} {quiet[name]:8.0f} {quiet[name] / measure:6.2f} {busy[name]:8.0f}"
                  f" {busy[name] / measure:6.2f}")  # fmt: skip
            bars[f"{model}\n{name}"] = {"quiet": quiet[name], "busy neighbour": busy[name]}
        callers = changing_threads(paths[model])
        for name, speed in callers.items():
            print(f"{name:20} {speed:8.0f} {speed / callers['one thread']:6.2f}")
    if options.plot:
        save_bars(options.plot, "Pools of worker threads", "tokens/s", bars)


if __name__ == "__main__":
    main()
