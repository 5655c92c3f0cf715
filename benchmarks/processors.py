"""Logits processors of eight texts at once: one call for each text, against one for all of them.

Run it with ``.venv/bin/python benchmarks/processors.py``; it takes ten seconds. Measured is what
the engine does with the logits of one step before tokens are chosen, on random rows as wide as
those of the other benchmarks' models, with numpy on one core: the least of many rounds in turn.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the engine computes on the others

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from llama_cpp import BatchLogitsProcessor, LogitsProcessorList
from llama_cpp.sampling.batch_hooks import process_rows

N_TEXTS = 8
ROUNDS = 100
N_FEATURES = 64
WIDTHS = {"tinychat": 2048, "32k": 32_000, "128k": 128_256}

Ids = npt.NDArray[np.intc]
Scores = npt.NDArray[np.single]
Work = Callable[[Ids, Scores], None]


class Together(BatchLogitsProcessor):
    """Does its work on the scores of all texts.

    Args:
        work: Changes scores of shape (texts, n_vocab), knowing the last token of each text.
    """

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, input_ids: Sequence[Ids], scores: Scores) -> None:
        self.work(np.array([ids[-1] for ids in input_ids], np.intc), scores)


class RowByRow:
    """Does the same for one text at a time."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, input_ids: Ids, scores: Scores) -> None:
        self.work(input_ids[-1:], scores[None])


def works(n_vocab: int) -> dict[str, Work]:
    """By name."""
    random = np.random.default_rng(1)
    embeddings = random.standard_normal((n_vocab, N_FEATURES), np.single)
    weights = random.standard_normal((N_FEATURES, n_vocab), np.single)

    def forbid(last: Ids, scores: Scores) -> None:
        scores[np.arange(len(last)), last] = -np.inf

    def guide(last: Ids, scores: Scores) -> None:
        scores += embeddings[last] @ weights

    return {"nothing": lambda last, scores: None, "forbid a token": forbid, "small model": guide}


def microseconds(n_vocab: int, work: Work) -> tuple[float, float]:
    """Of one step: row by row and together."""
    random = np.random.default_rng(2)
    logits = random.standard_normal((N_TEXTS, n_vocab), np.single)
    ids = [np.arange(number, number + 100, dtype=np.intc) for number in range(N_TEXTS)]
    single = LogitsProcessorList([RowByRow(work)])
    shared = LogitsProcessorList([Together(work)])

    def row_by_row() -> None:
        for each, row in zip(ids, logits, strict=True):
            single(each, row.copy())

    def together() -> None:
        process_rows([shared] * N_TEXTS, ids, logits.copy())

    best = {row_by_row: float("inf"), together: float("inf")}
    for _ in range(ROUNDS):
        for step in best:
            start = time.perf_counter()
            step()
            best[step] = min(best[step], time.perf_counter() - start)
    return best[row_by_row] * 1e6, best[together] * 1e6


def figures() -> Iterator[tuple[str, str, float, float]]:
    """The names of a width and of a work, and what it takes in both styles."""
    for width, n_vocab in WIDTHS.items():
        for name, work in works(n_vocab).items():
            yield width, name, *microseconds(n_vocab, work)


def main() -> None:
    print(
        f"{'width':10} {'work':16} {'rows':>8} {'batch':>8} {'ratio':>6}   us per step of {N_TEXTS}"
    )
    for width, name, rows, batch in figures():
        print(f"{width:10} {name:16} {rows:8.0f} {batch:8.0f} {batch / rows:6.2f}")


if __name__ == "__main__":
    main()
