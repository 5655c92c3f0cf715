"""What caches of states save, and what they cost where they save nothing.

Prints the time to the first token of a prompt of 2,000 tokens, relative to computing it, with a
cache in memory and on disk: when all of the prompt is known (hit), when its first half is (partial
hit), and when nothing is (miss: by what the search adds, by the least of all rounds, and by the
work of all threads until the reply is written and its state kept). Then how long a search among
1,000 entries takes, and how large a state is and how long it takes to save and restore.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from statistics import median

import numpy as np

from llama_cpp import Llama
from llama_cpp.llama_cache import (
    BaseLlamaCache,
    LlamaDiskCache,
    LlamaState,
    LlamaTrieCache,
)
from llama_cpp.models import tinychat

SHARED = 2000
ENTRIES = 1000
REPLY = 8
HEAD = " " * 22 + "hit    partial hit       miss  miss, least   miss, work"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=tinychat())
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with Llama(arguments.model, n_ctx=2100, n_threads=1, verbose=False) as llm:
            print(HEAD)
            for name, make in caches(folder).items():
                llm.set_cache(None)
                print(f"{name:18} {replies(llm, make, arguments.rounds)}")
            llm.set_cache(None)
            states(llm, 450)
            states(llm, SHARED)
        for name, make in caches(f"{folder}/entries").items():
            search(name, make())


def caches(folder: str) -> dict[str, Callable[[], BaseLlamaCache]]:
    return {"memory": LlamaTrieCache, "disk": lambda: LlamaDiskCache(f"{folder}/states")}


def prompts(llm: Llama) -> Iterator[list[int]]:
    """Prompts that have nothing in common."""
    for seed in count():
        chosen = random.Random(seed)
        yield [chosen.randrange(300, llm.n_vocab()) for _ in range(SHARED)]


def replies(llm: Llama, make: Callable[[], BaseLlamaCache], rounds: int) -> str:
    """Alternate, so that what else the machine does hits all alike."""
    fresh = prompts(llm)
    known, other = next(fresh), next(fresh)
    cold, hits, halves, misses, added = [], [], [], [], []
    llm.set_cache(cache := make())
    first_token(llm, known)
    first_token(llm, other)
    for _ in range(rounds):
        llm.set_cache(None)
        cold.append(first_token(llm, next(fresh)))
        llm.set_cache(cache)
        misses.append(first_token(llm, next(fresh)))
        hits.append(first_token(llm, known))
        unknown = next(fresh)
        begin = time.perf_counter()
        llm.prompt_cache.restore(unknown)
        added.append(time.perf_counter() - begin)
        halves.append(first_token(llm, known[: SHARED // 2] + next(fresh)[SHARED // 2 :]))
    times = [median(seconds for seconds, _ in each) for each in (cold, hits, halves)]
    quick = [min(seconds for seconds, _ in each) for each in (cold, misses)]
    work = [median(seconds for _, seconds in each) for each in (cold, misses)]
    search = 1 + median(added) / times[0]
    return (
        f"{times[0] / times[1]:6.1f} x   {times[0] / times[2]:10.1f} x "
        f"{search:10.4f} {quick[1] / quick[0]:12.3f} {work[1] / work[0]:12.3f}"
    )


def first_token(llm: Llama, prompt: list[int]) -> tuple[float, float]:
    """Seconds to the first token, and of work until all is written and kept."""
    begin, work = time.perf_counter(), time.process_time()
    chunks = iter(llm(prompt, max_tokens=REPLY, temperature=0, ignore_eos=True, stream=True))
    next(chunks)
    seconds = time.perf_counter() - begin
    for _ in chunks:
        pass
    time.sleep(0.1)  # as a reader would
    return seconds, time.process_time() - work


def states(llm: Llama, n_tokens: int) -> None:
    llm.reset()
    llm.eval(next(prompts(llm))[:n_tokens])
    llm.save_state()  # the first one makes the model's fingerprint
    saving, loading = [], []
    for _ in range(20):
        begin = time.perf_counter()
        state = llm.save_state()
        middle = time.perf_counter()
        llm.load_state(state)
        saving.append(middle - begin)
        loading.append(time.perf_counter() - middle)
    print(
        f"a state of {n_tokens:5} tokens: {state.llama_state_size / n_tokens:.0f} bytes per token, "
        f"saved in {median(saving) * 1e3:.2f} ms, restored in {median(loading) * 1e3:.2f} ms"
    )


def search(name: str, cache: BaseLlamaCache) -> None:
    chosen = random.Random(1)
    start = [chosen.randrange(30000) for _ in range(SHARED // 2)]
    keys = [start + [chosen.randrange(30000) for _ in range(SHARED // 2)] for _ in range(ENTRIES)]
    model = bytes(range(16))
    for key in keys:
        ids = np.array(key, np.intc)
        scores = np.zeros((0, 1), np.single)
        cache[key] = LlamaState(ids, scores, SHARED, b"memory", 6, 0, model=model)
    missing = [chosen.randrange(30000) for _ in range(SHARED)]
    for what, wanted in (("that is there", keys[ENTRIES // 2]), ("that is not", missing)):
        seconds = []
        for _ in range(200):
            begin = time.perf_counter()
            cache.holds(wanted, model)
            seconds.append(time.perf_counter() - begin)
        print(
            f"{name:8} search of {ENTRIES} x {SHARED} tokens for one {what}: "
            f"{median(seconds) * 1e3:.3f} ms"
        )


if __name__ == "__main__":
    main()
