"""What completions cost per token, against the bare loop of decode and sample.

Run it with ``.venv/bin/python benchmarks/overhead.py``; it takes about a minute. Every figure is a
ratio to ``llama_decode`` and ``llama_sampler_sample`` through the same library in the same process,
with the same threads and the same samplers, and the least of several rounds taken in turn.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from models import NAMES, model_name, model_paths

from llama_cpp import llama_cpp as raw
from llama_cpp.llama import Llama

N_TOKENS = 100
ROUNDS = 12
LATE_ROUNDS = 4
PROMPT = list(range(300, 316))
ANY_TEXT = "root ::= [^\\x00]*"
TARGETS = {
    "completion": 1.10, "streaming": 1.15, "logprobs=5": 1.3, "grammar that accepts": 1.5,
}  # fmt: skip
SAMPLING: Any = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}


class RawLoop:
    """The loop in C's own functions, as a script would write it."""

    def __init__(self, llm: Llama) -> None:
        params = raw.llama_context_params.from_buffer_copy(llm.context_params)
        self._model = llm.model
        context: Any = raw.llama_init_from_model(self._model, params)
        pool = llm._ctx.handle.threadpool
        raw.llama_attach_threadpool(context, pool, pool)
        chain: Any = raw.llama_sampler_chain_init(raw.llama_sampler_chain_default_params())
        samplers: Any = (
            raw.llama_sampler_init_top_k(40),
            raw.llama_sampler_init_top_p(0.95, 1),
            raw.llama_sampler_init_min_p(0.05, 1),
            raw.llama_sampler_init_temp(0.8),
            raw.llama_sampler_init_dist(1),
        )
        for sampler in samplers:
            raw.llama_sampler_chain_add(chain, sampler)
        self._context, self._sampler = context, chain

    def run(self, n_tokens: int) -> float:
        """Seconds for so many tokens after the first."""
        tokens = self.tokens(n_tokens)
        next(tokens)
        start = time.perf_counter()
        for _ in tokens:
            pass
        return time.perf_counter() - start

    def tokens(self, n_tokens: int) -> Iterator[int]:
        """Yield so many tokens, as they come."""
        context, sampler = self._context, self._sampler
        raw.llama_memory_clear(raw.llama_get_memory(context), False)
        prompt = (ctypes.c_int32 * len(PROMPT))(*PROMPT)
        raw.llama_decode(context, raw.llama_batch_get_one(prompt, len(PROMPT)))
        token = (ctypes.c_int32 * 1)(raw.llama_sampler_sample(sampler, context, -1))
        for _ in range(n_tokens - 1):
            yield token[0]
            raw.llama_decode(context, raw.llama_batch_get_one(token, 1))
            token[0] = raw.llama_sampler_sample(sampler, context, -1)
        yield token[0]

    def close(self) -> None:
        raw.llama_sampler_free(self._sampler)
        raw.llama_free(self._context)


def completions(llm: Llama) -> dict[str, Callable[[int], float]]:
    """By name: what gives the seconds for so many tokens after the first."""

    def parts(n_tokens: int, **options: Any) -> float:
        chosen = {"max_tokens": n_tokens, "seed": 1, "ignore_eos": True, **SAMPLING, **options}
        chunks: Any = llm(PROMPT, stream=True, **chosen)
        next(chunks)
        start = time.perf_counter()
        for _ in chunks:
            pass
        return time.perf_counter() - start

    def whole(n_tokens: int, **options: Any) -> float:
        def seconds(count: int) -> float:
            start = time.perf_counter()
            llm(PROMPT, max_tokens=count, seed=1, ignore_eos=True, **SAMPLING, **options)
            return time.perf_counter() - start

        first = seconds(1)
        return seconds(n_tokens) - first

    return {
        "completion": whole,
        "streaming": parts,
        "logprobs=5": lambda n: whole(n, logprobs=5),
        "grammar that accepts": lambda n: whole(n, grammar=ANY_TEXT),
    }


def ratios(path: Path) -> Iterator[tuple[str, float, float]]:
    """Name, microseconds per token and ratio to the bare loop."""
    llm = Llama(str(path), n_ctx=512, verbose=False)
    loop = RawLoop(llm)
    cases = {"bare loop": loop.run, **completions(llm)}
    best = dict.fromkeys(cases, float("inf"))
    gc.collect()
    for _ in range(ROUNDS):
        for name, case in cases.items():
            best[name] = min(best[name], case(N_TOKENS))
    loop.close()
    llm.close()
    for name, seconds in best.items():
        yield name, seconds / (N_TOKENS - 1) * 1e6, seconds / best["bare loop"]


def late_tokens(path: Path) -> tuple[float, float]:
    """Microseconds of a streamed token above the bare loop's, after 100 others and after 2,000."""
    llm = Llama(str(path), n_ctx=2304, verbose=False)
    loop = RawLoop(llm)
    best: dict[tuple[str, int], float] = {}
    for _ in range(LATE_ROUNDS):
        for name, tokens in (("streamed", streamed(llm)), ("bare", loop.tokens(2100))):
            clock = [time.perf_counter() for _ in tokens]
            for first in (50, 1950):
                steps = [b - a for a, b in itertools.pairwise(clock[first : first + 100])]
                median = statistics.median(steps) * 1e6
                best[name, first] = min(median, best.get((name, first), median))
    loop.close()
    llm.close()
    early, late = (best["streamed", first] - best["bare", first] for first in (50, 1950))
    return early, late


def streamed(llm: Llama) -> Iterator[object]:
    yield from llm(PROMPT, max_tokens=2100, stream=True, seed=1, ignore_eos=True, **SAMPLING)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=model_name, default=NAMES)
    options = parser.parse_args()
    paths = model_paths()
    missed = False
    print(f"{'model':10} {'work':22} {'us/token':>9} {'ratio':>6} {'target':>6}")
    for model in options.models:
        for name, microseconds, ratio in ratios(paths[model]):
            target = TARGETS.get(name)
            missed |= target is not None and ratio > target
            shown = f"{target:6.2f}" if target else ""
            print(f"{model:10} {name:22} {microseconds:9.1f} {ratio:6.2f} {shown}")
    early, late = late_tokens(paths["32k"])
    print(f"32k: streaming adds {early:.0f} us to token 100 and {late:.0f} us to token 2,000")
    print("every target is met" if not missed else "a target was missed")


if __name__ == "__main__":
    main()
