"""Opening and closing handles for ever keeps resident memory flat.

Run as a program, this file is the process that is measured: ``test_memory_leaks.py KIND CYCLES
FOLDER`` prints the resident megabytes after the warm-up and at the end.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from zoo import write_llama

from llama_cpp.errors import (
    ContextError,
    GrammarError,
    ModelLoadError,
    NoKVSlotError,
    TokenError,
    UnknownArchitectureError,
)
from llama_cpp.handles import sampler_kinds
from llama_cpp.handles.batch import Batch
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model
from llama_cpp.handles.sampler import SamplerChain

WARM_UP = 500

# Three steps of 0.3 to 1.6 MB are seen in the first 13,000 cycles and none in the next 17,000, when
# Python rebuilds its table of interned strings. A forgotten model would add 130 kB per cycle, a
# forgotten sampler over 40 bytes: both are more than this after the cycles below.
MARGIN_MB = 4.0

# Loading takes most of a cycle, so the variants of the first kind do fewer.
CYCLES = {"closed": 10_000, "dropped": 2_000, "failed": 1_500, "samplers": 100_000}


def open_all(folder: Path) -> tuple[Model, Context, SamplerChain]:
    model = Model(folder / "tiny.gguf")
    params = Context.default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 32
    params.n_threads = params.n_threads_batch = 1
    samplers = [sampler_kinds.top_k(4), sampler_kinds.dist(1)]
    return model, Context(model, params), SamplerChain(samplers)


def generate(model: Model, context: Context, chain: SamplerChain) -> None:
    batch = Batch(4)
    batch.add_sequence(model.vocab.tokenize("the")[:4])
    context.decode(batch)
    chain.sample(context)


def closed(folder: Path) -> None:
    model, context, chain = open_all(folder)
    generate(model, context, chain)
    chain.close()
    context.close()
    model.close()


def dropped(folder: Path) -> None:
    # Without the collector: weights must not wait for it because of a reference cycle.
    gc.disable()
    generate(*open_all(folder))


def failed(folder: Path) -> None:
    """Leave by an exception at every stage, in the engine's own checks and in ours."""
    with pytest.raises(UnknownArchitectureError):
        Model(folder / "unknown.gguf")
    with pytest.raises(ModelLoadError, match="ffn_down"):
        Model(folder / "incomplete.gguf")
    with open_all(folder)[0] as model:
        params = Context.default_params()
        params.type_v = -1
        with pytest.raises(ContextError):
            Context(model, params)
        with pytest.raises(GrammarError):
            sampler_kinds.grammar(model.vocab, "root ::= (")
    model, context, chain = open_all(folder)
    with model, pytest.raises(NoKVSlotError):
        fill(context)
    del chain


def fill(context: Context) -> None:
    batch = Batch(32)
    with pytest.raises(TokenError):
        batch.add(2**40, 0)
    for start in range(0, context.n_ctx + 32, 32):
        batch.clear()
        batch.add_sequence([5] * 32, start)
        context.decode(batch)


def samplers(folder: Path) -> None:
    with SamplerChain([sampler_kinds.temp(0.5), sampler_kinds.dist(1)]) as chain:
        chain.clone().add(sampler_kinds.greedy())
        chain.remove(0).close()


KINDS: dict[str, Callable[[Path], None]] = {
    "closed": closed, "dropped": dropped, "failed": failed, "samplers": samplers,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leaks")
    good = write_llama(
        folder / "tiny.gguf", n_embd=32, n_head=1, n_head_kv=1, n_layer=1, n_ff=32, n_ctx_train=32
    ).read_bytes()
    # Names of the same length keep the offsets of the file.
    (folder / "unknown.gguf").write_bytes(good.replace(b"llama", b"lhama"))
    (folder / "incomplete.gguf").write_bytes(good.replace(b"blk.0.ffn_down", b"blk.0.ffn_dawn"))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_memory_stays_flat(kind: str, folder: Path) -> None:
    command = [sys.executable, __file__, kind, str(CYCLES[kind]), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "kits")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    sys.stdout.write(f"{kind}: {done.stdout}MB after {WARM_UP} cycles and at the end\n")
    before, after = map(float, done.stdout.split())
    assert after - before < MARGIN_MB


def measure(kind: str, cycles: int, folder: Path) -> None:
    process = psutil.Process()
    for done in range(WARM_UP + cycles):
        if done == WARM_UP:
            report(process)
        KINDS[kind](folder)
    report(process)


def report(process: psutil.Process) -> None:
    gc.collect()
    sys.stdout.write(f"{process.memory_info().rss / 2**20:.2f} ")


if __name__ == "__main__":
    measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
