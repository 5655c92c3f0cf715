"""Texts that are written at once, with flash attention and without, beside ``llama-batched-bench``.

Run it with ``.venv/bin/python benchmarks/flash_attention.py [MODEL]`` after ``make llama-server``,
which builds llama.cpp's own benchmark too. That one decodes, and chooses no tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import threading
import time
from pathlib import Path

from plot import plot_file, save_bars

from llama_cpp.llama import Llama
from llama_cpp.models import tinychat
from llama_cpp.native.threads import usable_cores

THEIRS = Path(__file__).resolve().parents[1] / "build/llama-server/bin/llama-batched-bench"
N_SEQUENCES = (1, 8, 32)
N_PROMPT, N_TOKENS = 16, 96
ROUNDS = 5
FLASH_ATTENTION: dict[str, bool | str] = {"off": False, "on": "auto"}


def ours(path: str, n: int, flash_attn: bool | str) -> float:
    """Tokens per second of so many completions at once, from their first tokens on."""
    with Llama(path, n_ctx=N_PROMPT + N_TOKENS + 8, n_parallel=n, n_threads=usable_cores(),
               flash_attn=flash_attn, verbose=False) as llm:  # fmt: skip
        times: list[list[float]] = [[] for _ in range(n)]

        def complete(number: int) -> None:
            prompt = list(range(300 + 20 * number, 300 + 20 * number + N_PROMPT))
            for _ in llm(prompt, max_tokens=N_TOKENS, temperature=0, ignore_eos=True, stream=True):
                times[number].append(time.perf_counter())

        threads = [threading.Thread(target=complete, args=(number,)) for number in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        begin = max(each[0] for each in times)
        end = max(each[-1] for each in times)
        return sum(sum(moment > begin for moment in each) for each in times) / (end - begin)


def theirs(path: str, n: int, flash_attn: str) -> float:
    """Tokens per second of ``llama-batched-bench``, prompts apart."""
    command = [THEIRS, "-m", path, "-npp", N_PROMPT, "-ntg", N_TOKENS, "-npl", n, "-fa", flash_attn,
               "-c", n * (N_PROMPT + N_TOKENS + 8), "-t", usable_cores(),
               "--output-format", "jsonl"]  # fmt: skip
    output = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=True
    ).stdout
    line = next(line for line in output.splitlines() if line.startswith("{"))
    return float(json.loads(line)["speed_tg"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=tinychat())
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--plot", type=plot_file, metavar="FILE", help="draw the figures too")
    options = parser.parse_args()
    bars: dict[str, dict[str, float]] = {}
    names = ("sequences", "flash attention", "ours", "theirs", "ratio")
    print("{:>9} {:>16} {:>8} {:>8} {:>6}   tokens/s".format(*names))
    for n in N_SEQUENCES:
        speeds: dict[str, list[float]] = {}
        for _ in range(options.rounds):
            for name, flash_attn in FLASH_ATTENTION.items():
                speeds.setdefault(f"ours {name}", []).append(ours(options.model, n, flash_attn))
                if THEIRS.exists():
                    speeds.setdefault(f"theirs {name}", []).append(theirs(options.model, n, name))
        bars[f"{n} at once"] = medians = {
            name: statistics.median(each) for name, each in speeds.items()
        }
        for name in FLASH_ATTENTION:
            mine, other = medians[f"ours {name}"], medians.get(f"theirs {name}", float("nan"))
            print(f"{n:9} {name:>16} {mine:8.1f} {other:8.1f} {mine / other:6.2f}")
    if options.plot:
        save_bars(options.plot, "Flash attention", "tokens/s", bars)


if __name__ == "__main__":
    main()
