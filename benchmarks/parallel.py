"""How many tokens per second concurrent completions give together.

Run it with ``.venv/bin/python benchmarks/parallel.py``; it takes about a minute. The measure is
``llama_decode`` alone: the same prompts, then the same number of one-token steps in one batch for
all sequences, in the same context settings, without choosing a single token. Completions run one
per thread; "streamed" ones are taken token by token.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from typing import Any

from models import model_paths
from plot import save_bars

from llama_cpp import llama_cpp as raw
from llama_cpp.llama import Llama

N_PARALLEL = (1, 2, 4, 8, 16)
N_TOKENS = 400
ROUNDS = 5
TARGET = 0.9
TARGET_AT = 8


def prompt(number: int, turn: int) -> list[int]:
    """No two begin alike, so that nothing is shared or found in the cache."""
    first = 300 + max(N_PARALLEL) * turn + number
    return list(range(first, first + 16))


def bare_seconds(llm: Llama, n: int, turn: int) -> float:
    """``llama_decode`` alone, on a context like that of ``llm``."""
    params = raw.llama_context_params.from_buffer_copy(llm.context_params)
    context: Any = raw.llama_init_from_model(llm.model, params)
    pool = llm._ctx.handle._threadpools[0].pointer
    raw.llama_attach_threadpool(context, pool, pool)
    prompts = [prompt(number, turn) for number in range(n)]
    size = len(prompts[0])
    batch = raw.llama_batch_init(n * size, 0, 1)

    def fill(entries: list[tuple[int, int, int, bool]]) -> None:
        batch.n_tokens = len(entries)
        for i, (token, position, sequence, is_output) in enumerate(entries):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            batch.logits[i] = is_output

    start = time.perf_counter()
    fill([(t, p, s, p == size - 1) for s in range(n) for p, t in enumerate(prompts[s])])
    raw.llama_decode(context, batch)
    for position in range(size, size + N_TOKENS - 1):
        fill([(500 + s, position, s, True) for s in range(n)])
        raw.llama_decode(context, batch)
    raw.llama_synchronize(context)
    seconds = time.perf_counter() - start
    raw.llama_batch_free(batch)
    raw.llama_free(context)
    return seconds


def completion_seconds(llm: Llama, n: int, turn: int, *, stream: bool) -> float:
    """One completion per thread, from the first one's start to the last one's end."""

    def complete(number: int) -> None:
        chosen: Any = {"max_tokens": N_TOKENS, "seed": number, "ignore_eos": True}
        answer: Any = llm(prompt(number, turn), stream=stream, **chosen)
        if stream:
            for _ in answer:
                pass

    threads = [threading.Thread(target=complete, args=(number,)) for number in range(n)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def tokens_per_second(path: Path, n: int) -> dict[str, float]:
    """By name of the work."""
    with Llama(str(path), n_ctx=512, n_parallel=n, verbose=False) as llm:
        best = dict.fromkeys(("bare", "completions", "streamed"), float("inf"))
        for turn in range(ROUNDS):
            best["bare"] = min(best["bare"], bare_seconds(llm, n, turn))
            for i, name in enumerate(("completions", "streamed")):
                seconds = completion_seconds(llm, n, 2 * turn + i, stream=name == "streamed")
                best[name] = min(best[name], seconds)
    return {name: n * N_TOKENS / seconds for name, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["tinychat", "32k", "128k"])
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figures too")
    options = parser.parse_args()
    paths = model_paths()
    bars: dict[str, dict[str, float]] = {}
    missed = False
    print(f"{'model':10} {'requests':>8} {'bare':>8} {'whole':>8} {'ratio':>6} {'streamed':>8}"
          f" {'ratio':>6}   tokens/s")  # fmt: skip
    for model in options.models:
        for n in N_PARALLEL:
            speeds = tokens_per_second(paths[model], n)
            bare, whole, streamed = speeds.values()
            missed |= n == TARGET_AT and whole / bare < TARGET
            print(f"{model:10} {n:8} {bare:8.0f} {whole:8.0f} {whole / bare:6.2f} {streamed:8.0f}"
                  f" {streamed / bare:6.2f}")  # fmt: skip
            bars[f"{model} x {n}"] = speeds
    verdict = "missed" if missed else "met"
    print(f"the target, {TARGET} of the bare loop with {TARGET_AT} requests, is {verdict}")
    if options.plot:
        save_bars(options.plot, "Concurrent completions", "tokens/s", bars)


if __name__ == "__main__":
    main()
