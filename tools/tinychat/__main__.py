"""Make tinychat: ``python -m tools.tinychat [corpus] [train] [export] [evaluate]``.

Without a stage all of them run, in this order. Every stage leaves its result in
``build/tinychat`` and the next one takes it from there.
"""

from __future__ import annotations

import argparse
import logging
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tools.tinychat import tokenizer
from tools.tinychat.chat import TEMPLATE, segments
from tools.tinychat.corpus import examples

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "tinychat"
MODEL = ROOT / "llama_cpp" / "models" / "tinychat.gguf"

SEED = 1
N_DOCUMENTS = (140_000, 105_000, 55_000, 70_000, 110_000, 35_000, 40_000, 45_000, 45_000)
"""In each part of the corpus."""
N_TOKENIZER_DOCUMENTS = 20_000
N_PER_SHARD = 5_000
N_CTX = 2048
N_CASES = 600
"""Held-out cases of each ability."""

log = logging.getLogger("tinychat")


def make_corpus(work: Path) -> None:
    """Train the tokenizer, then write the documents of all parts as tokens."""
    texts = (
        "".join(part for part, _ in segments(example))
        for _, example in examples(N_TOKENIZER_DOCUMENTS, SEED)
    )
    tokenizer.train(texts, work / "tokenizer.model")
    log.info("trained the tokenizer")
    for part, n_documents in enumerate(N_DOCUMENTS):
        shards = range(n_documents // N_PER_SHARD)
        with ProcessPoolExecutor() as pool:
            results = list(pool.map(partial(_shard, work / "tokenizer.model", part), shards))
        tokens, weights, lengths = map(np.concatenate, zip(*results, strict=True))
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        folder = work / f"part-{part}"
        folder.mkdir(exist_ok=True)
        np.savez(folder / "corpus.npz", tokens=tokens, weights=weights, offsets=offsets)
        log.info("%d documents, %d tokens, %d to learn", len(lengths), len(tokens), weights.sum())


def _shard(model: Path, part: int, index: int) -> tuple[npt.NDArray[np.generic], ...]:
    encode = tokenizer.Tokenizer(model).encode
    tokens: list[int] = []
    weights: list[bool] = []
    lengths: list[int] = []
    for _, example in examples(N_PER_SHARD, (SEED + part) * 1_000_000 + index, part):
        document, learned = [tokenizer.BOS], [False]
        for text, learn in segments(example):
            ids = encode(text)
            document += ids
            learned += [learn] * len(ids)
        tokens += document[:N_CTX]
        weights += learned[:N_CTX]
        lengths.append(min(len(document), N_CTX))
    return np.array(tokens, np.uint16), np.array(weights, np.uint8), np.array(lengths, np.int64)


def train_network(work: Path) -> None:
    """Train on the corpus and keep the weights."""
    from tools.tinychat import train  # torch takes seconds to import and only this stage needs it

    train.main(work)


def export_model(work: Path, path: Path) -> None:
    """Write the quantized model file and compare it with the network."""
    from tools.tinychat import export

    path.parent.mkdir(parents=True, exist_ok=True)
    texts = ["".join(part for part, _ in segments(example)) for _, example in examples(500, SEED)]
    difference = export.main(work, TEMPLATE.read_text(encoding="utf-8"), path, texts)
    size = path.stat().st_size / 1e6
    log.info("%s: %.2f MB, logits %.3f deviations from PyTorch's", path, size, difference)


def evaluate_model(path: Path, n_cases: int) -> bool:
    """Print a table of abilities; return whether all bars are reached."""
    from tools.tinychat.evaluate import TESTS, evaluate

    scores = evaluate(path, n_cases)
    print("| ability | cases | right | bar |\n|---|---|---|---|")
    for name, score in scores.items():
        print(f"| {name} | {score.cases} | {score.share:.1%} | {TESTS[name][0]:.0%} |")
    for name, score in scores.items():
        for example, reply in score.wrong[:8]:
            log.info("%s: wanted %r, got %r", name, example.key, reply.text)
    return all(score.share >= TESTS[name][0] for name, score in scores.items())


def main() -> int:
    stages = ("corpus", "train", "export", "evaluate")
    parser = argparse.ArgumentParser(prog="python -m tools.tinychat")
    parser.add_argument("stages", nargs="*", metavar="stage", help=", ".join(stages))
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the results")
    parser.add_argument("--model", type=Path, default=MODEL, help="the model file to write")
    parser.add_argument("--cases", type=int, default=N_CASES, help="held-out cases per ability")
    options = parser.parse_args()
    if unknown := set(options.stages) - set(stages):
        parser.error(f"no such stage: {', '.join(sorted(unknown))}; there are {', '.join(stages)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    chosen = options.stages or stages
    if "corpus" in chosen:
        make_corpus(options.work)
    if "train" in chosen:
        train_network(options.work)
    if "export" in chosen:
        export_model(options.work, options.model)
    if "evaluate" in chosen and not evaluate_model(options.model, options.cases):
        log.warning("a bar was missed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
