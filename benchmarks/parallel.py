"""How many tokens per second concurrent completions give together.

Run it with ``.venv/bin/python benchmarks/parallel.py``; it takes about four minutes. The measure is
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

from models import NAMES, model_name, model_paths
from plot import plot_file, save_bars

from llama_cpp import llama_cpp as raw
from llama_cpp.llama import Llama

N_PARALLEL = (1, 2, 4, 8, 16)
# Tokens per request, and rounds of which the best counts: fewer of both for a slow model.
WORK = {"tinychat": (400, 6), "32k": (400, 4), "128k": (100, 2)}
TARGET = 0.9
TARGET_AT = 8


def prompt(number: int, turn: int) -> list[int]:
    """No two begin alike, so that nothing is shared or found in the cache."""
    first = 300 + max(N_PARALLEL) * turn + number
    return list(range(first, first + 16))


def bare_seconds(llm: Llama, n: int, n_tokens: int, turn: int) -> float:
    """``llama_decode`` alone, on a context like that of ``llm``."""
    params = raw.llama_context_params.from_buffer_copy(llm.context_params)
    context: Any = raw.llama_init_from_model(llm.model, params)
    pool = llm._ctx.handle.threadpool
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
    for position in range(size, size + n_tokens - 1):
        fill([(500 + s, position, s, True) for s in range(n)])
        raw.llama_decode(context, batch)
    raw.llama_synchronize(context)
    seconds = time.perf_counter() - start
    raw.llama_batch_free(batch)
    raw.llama_free(context)
    return seconds


def completion_seconds(llm: Llama, n: int, n_tokens: int, turn: int, *, stream: bool) -> float:
    """One completion per thread, from the first one's start to the last one's end."""

    def complete(number: int) -> None:
        chosen: Any = {"max_tokens": n_tokens, "seed": number, "ignore_eos": True}
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


def tokens_per_second(path: Path, n: int, n_tokens: int, rounds: int) -> dict[str, float]:
    """By name of the work."""
    with Llama(str(path), n_ctx=512, n_parallel=n, verbose=False) as llm:
        best = dict.fromkeys(("bare", "completions", "streamed"), float("inf"))
        for turn in range(rounds):
            best["bare"] = min(best["bare"], bare_seconds(llm, n, n_tokens, turn))
            for i, name in enumerate(("completions", "streamed")):
                seconds = completion_seconds(llm, n, n_tokens, 2 * turn + i, stream=bool(i))
                best[name] = min(best[name], seconds)
    return {name: n * n_tokens / seconds for name, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=model_name, default=NAMES)
    parser.add_argument("--plot", type=plot_file, metavar="FILE", help="draw the figures too")
    options = parser.parse_args()
    paths = model_paths()
    bars: dict[str, dict[str, float]] = {}
    verdicts = []
    print(f"{'model':10} {'requests':>8} {'bare':>8} {'whole':>8} {'ratio':>6} {'streamed':>8}"
          f" {'ratio':>6}   tokens/s")  # fmt: skip
    for model in options.models:
        for n in N_PARALLEL:
            speeds = tokens_per_second(paths[model], n, *WORK[model])
            bare, whole, streamed = speeds.values()
            if n == TARGET_AT:
                verdicts.append(f"{model} {whole / bare:.2f}")
            print(f"{model:10} {n:8} {bare:8.0f} {whole:8.0f} {whole / bare:6.2f} {streamed:8.0f}"
                  f" {streamed / bare:6.2f}")  # fmt: skip
            bars[f"{model} x {n}"] = speeds
    print(f"{TARGET_AT} requests, target {TARGET} of the bare loop: {', '.join(verdicts)}")
    if options.plot:
        save_bars(options.plot, "Concurrent completions", "tokens/s", bars)


if __name__ == "__main__":
    main()
