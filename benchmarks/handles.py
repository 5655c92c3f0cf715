"""What this package costs on top of the engine: importing, calling, tokenizing, decoding.

Run it with ``.venv/bin/python benchmarks/handles.py``; it takes about ten seconds. Compare figures
of one machine only, and ratios rather than times.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# The tiny random models of the tests serve here too; the tests are no package to import from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "kits"))

from zoo import write_llama

from llama_cpp import llama_cpp as raw
from llama_cpp.handles.batch import Batch
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model
from llama_cpp.handles.sampler import SamplerChain
from llama_cpp.handles.sampler_kinds import greedy

IMPORTS = 10
ROUNDS = 15
DECODE_ROUNDS = 60
N_GENERATED = 200
TEXT = "once upon a time the quick brown fox jumps over the lazy dog and other people " * 20

Row = tuple[str, str]


def main() -> None:
    rows = import_rows()
    with tempfile.TemporaryDirectory() as folder:
        path = write_llama(Path(folder) / "tiny.gguf")
        with Model(path) as model, Context(model, context_params()) as context:
            rows += call_rows(context)
            rows += text_rows(model)
            rows += decode_rows(model, context)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value:>12}")


def context_params() -> raw.llama_context_params:
    params = Context.default_params()
    params.n_ctx = 2 * N_GENERATED
    # More threads would make this a benchmark of the machine's scheduler.
    params.n_threads = params.n_threads_batch = 1
    return params


# Imports


def import_rows() -> list[Row]:
    statements = {
        "nothing": "pass",
        "llama_cpp": "import llama_cpp",
        "llama_cpp.llama_cpp": "import llama_cpp.llama_cpp",
        "Model, Context, SamplerChain": (
            "from llama_cpp.handles import model, context, sampler_kinds"
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in statements}
    for warming_up in (True, *[False] * IMPORTS):
        for name, statement in statements.items():  # in turn, so that all see the same noise
            elapsed = process_seconds(statement)
            if not warming_up:
                seconds[name].append(elapsed)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    start = medians.pop("nothing")
    rows = [("start of the bare interpreter", f"{start * 1e3:.1f} ms")]
    for name, median in medians.items():
        rows += [
            (f"import {name}", f"{(median - start) * 1e3:.1f} ms"),
            ("  with the interpreter's start", f"{median * 1e3:.1f} ms"),
        ]
    return rows


def process_seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


# Calls


def best_seconds(function: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The least of several times: noise only ever adds."""
    times = []
    gc.collect()
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def call_rows(context: Context) -> list[Row]:
    count, pointer, n_ctx = 20_000, context.pointer, raw.llama_n_ctx

    def calls() -> None:
        for _ in range(count):
            n_ctx(pointer)

    def nothing() -> None:
        for _ in range(count):
            pass

    seconds = best_seconds(calls) - best_seconds(nothing)
    return [("llama_n_ctx(ctx)", f"{seconds / count * 1e9:.0f} ns")]


def text_rows(model: Model) -> list[Row]:
    vocab = model.vocab
    tokens = vocab.tokenize(TEXT)
    word = vocab.tokenize("the", add_special=False)
    cases: list[tuple[str, Callable[[], object], int]] = [
        (f"Vocab.tokenize, per token of {len(tokens)}", lambda: vocab.tokenize(TEXT), len(tokens)),
        ("Vocab.tokenize of one word", lambda: repeat(lambda: vocab.tokenize("the")), 100),
        (
            f"Vocab.detokenize, per token of {len(tokens)}",
            lambda: vocab.detokenize(tokens),
            len(tokens),
        ),
        ("Vocab.detokenize of one token", lambda: repeat(lambda: vocab.detokenize(word)), 100),
        ("Vocab.token_to_piece", lambda: repeat(lambda: vocab.token_to_piece(word[0])), 100),
    ]
    return [
        (name, f"{best_seconds(function) / count * 1e9:.0f} ns") for name, function, count in cases
    ]


def repeat(function: Callable[[], object]) -> None:
    for _ in range(100):
        function()


# Decoding


def decode_rows(model: Model, context: Context) -> list[Row]:
    prompt = model.vocab.tokenize("once upon a time")
    loops: dict[str, RawLoop | HandleLoop] = {
        "raw": RawLoop(context, prompt), "handles": HandleLoop(context, prompt),
    }  # fmt: skip
    expected = loops["raw"].run()
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(DECODE_ROUNDS):
        for name, loop in loops.items():
            gc.collect()
            start = time.perf_counter()
            tokens = loop.run()
            times[name].append(time.perf_counter() - start)
            if tokens != expected:
                raise SystemExit("the two loops do not generate the same tokens")
    best = {name: min(values) for name, values in times.items()}
    ratio = best["handles"] / best["raw"]
    per_token = {name: f"{seconds / N_GENERATED * 1e6:.1f} us" for name, seconds in best.items()}
    extra = (best["handles"] - best["raw"]) / N_GENERATED
    return [
        ("llama_decode + llama_sampler_sample, per token", per_token["raw"]),
        ("Context.decode + SamplerChain.sample, per token", per_token["handles"]),
        ("  more, per token", f"{extra * 1e6:.1f} us"),
        ("  ratio on this tiny model", f"{ratio:.3f}"),
    ]


class RawLoop:
    """The loop as a C program has it."""

    def __init__(self, context: Context, prompt: list[int]) -> None:
        self.context = context
        self.pointer = context.pointer
        self.memory = raw.llama_get_memory(self.pointer)
        self.prompt = (raw.llama_token * len(prompt))(*prompt)
        self.token = (raw.llama_token * 1)()
        chain = raw.llama_sampler_chain_init(raw.llama_sampler_chain_default_params())
        member = raw.llama_sampler_init_greedy()
        assert chain is not None
        assert member is not None
        raw.llama_sampler_chain_add(chain, member)
        self.sampler = chain

    def run(self) -> list[int]:
        decode, sample, one = raw.llama_decode, raw.llama_sampler_sample, raw.llama_batch_get_one
        pointer, sampler, token = self.pointer, self.sampler, self.token
        raw.llama_memory_clear(self.memory, True)
        generated = []
        batch = one(self.prompt, len(self.prompt))
        for _ in range(N_GENERATED):
            if decode(pointer, batch):
                raise SystemExit("llama_decode failed")
            chosen = sample(sampler, pointer, -1)
            generated.append(chosen)
            token[0] = chosen
            batch = one(token, 1)
        return generated


class HandleLoop:
    """The loop over the handles."""

    def __init__(self, context: Context, prompt: list[int]) -> None:
        self.context = context
        self.prompt = prompt
        self.batch = Batch(len(prompt))
        self.chain = SamplerChain([greedy()])

    def run(self) -> list[int]:
        context, batch, chain = self.context, self.batch, self.chain
        context.memory.clear()
        generated = []
        batch.clear()
        batch.add_sequence(self.prompt)
        position = len(self.prompt)
        for _ in range(N_GENERATED):
            context.decode(batch)
            token = chain.sample(context)
            generated.append(token)
            batch.clear()
            batch.add(token, position, output=True)
            position += 1
        return generated


if __name__ == "__main__":
    main()
