"""What huge pages give: the same decoding in processes that may have them, and that may not.

Run it with ``.venv/bin/python benchmarks/huge_pages.py``, on Linux; it takes about two minutes.
Which memory a process gets lasts as long as it, so each turn is a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from random_model import random_model

from llama_cpp.llama import Llama

MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PR_SET_THP_DISABLE = 41  # of linux/prctl.h
PROMPT = range(300, 428)


def milliseconds_per_token(model: Path, n_tokens: int) -> float:
    with Llama(str(model), n_ctx=512, verbose=False) as llm:
        times = [
            time.perf_counter()
            for _ in llm.create_completion(
                list(PROMPT), max_tokens=n_tokens, temperature=0.0, ignore_eos=True, stream=True
            )
        ]
    return 1e3 * median(later - before for before, later in itertools.pairwise(times))


def in_process(model: Path, n_tokens: int, *, huge: bool) -> float:
    command = [
        sys.executable, __file__, "--model", str(model), "--tokens", str(n_tokens),
        "--one-turn", "huge" if huge else "small",
    ]  # fmt: skip
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a GGUF file; else a random one of 0.5 B")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--one-turn", choices=("huge", "small"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    model = options.model or random_model()
    if options.one_turn:
        if options.one_turn == "small":
            ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
        print(milliseconds_per_token(model, options.tokens))
        return
    print("the kernel gives huge pages:", MODE.read_text().strip() if MODE.exists() else "never")
    turns: dict[bool, list[float]] = {True: [], False: []}
    for number in range(options.rounds):
        for huge in (True, False)[:: -1 if number % 2 else 1]:
            turns[huge].append(in_process(model, options.tokens, huge=huge))
    of_each = {huge: median(times) for huge, times in turns.items()}
    print(f"with huge pages {of_each[True]:.2f} ms per token, without {of_each[False]:.2f}")
    print(f"speed with them by that without: {of_each[False] / of_each[True]:.2f}")


if __name__ == "__main__":
    main()
