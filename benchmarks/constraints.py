"""What constraints cost per token, and what forced tokens save.

Run it with ``.venv/bin/python benchmarks/constraints.py [MODEL]``; it takes some minutes. The first
figures are ratios to ``llama_decode`` and ``llama_sampler_sample`` in the same process, with the
same samplers and threads, each the median of several rounds taken in turn. The random models write
nothing that a schema allows by themselves, so that nearly every token is refused at first.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from models import NAMES, model_paths
from overhead import PROMPT, SAMPLING, RawLoop

from llama_cpp.llama import Llama

N_TOKENS = 100
ROUNDS = 8
N_SEQUENCES = 8
LETTERS = "abcdefghij"
_WORDS = ["".join(random.Random(n).choices(LETTERS, k=8)) for n in range(3000)]
# What they allow goes on for more tokens than are written.
_MANY = {"type": "array", "minItems": 10_000}
CASES: Mapping[str, tuple[Mapping[str, Any], float]] = {
    "accepted: any text": ({"regex": r"(?s:.)*"}, 1.05),
    "refused: an array of numbers": ({"schema": {**_MANY, "items": {"type": "integer"}}}, 1.15),
    "refused: strings": (
        {"schema": {**_MANY, "items": {"type": "string", "maxLength": 20}}}, 1.15,
    ),
    "an enum of 3,000": ({"schema": {**_MANY, "items": {"enum": _WORDS}}}, 1.5),
    "a grammar of 3,000 words": (
        {"grammar": 'root ::= (w " ")*\nw ::= ' + " | ".join(f'"{each}"' for each in _WORDS)}, 1.5,
    ),
}  # fmt: skip
OBJECT = {
    "type": "object",
    "properties": {
        "first_name": {"type": "string", "maxLength": 12},
        "occupation": {"type": "string", "enum": ["teacher", "farmer", "doctor"]},
        "year_of_birth": {"type": "integer", "minimum": 1900, "maximum": 2020},
        "is_married": {"type": "boolean"},
        "favourite_colour": {"type": "string", "enum": ["red", "green", "blue"]},
    },
    "required": ["first_name", "occupation", "year_of_birth", "is_married", "favourite_colour"],
    "additionalProperties": False,
}  # fmt: skip


def seconds_per_token(llm: Llama, **options: Any) -> float:
    """Of the tokens after the first."""
    chosen = {"max_tokens": N_TOKENS, "seed": 1, "ignore_eos": True, **SAMPLING, **options}
    start = time.perf_counter()
    llm(PROMPT, **{**chosen, "max_tokens": 1})
    first = time.perf_counter() - start
    start = time.perf_counter()
    answer: Any = llm(PROMPT, **chosen)
    n_tokens: int = answer["usage"]["completion_tokens"]
    return (time.perf_counter() - start - first) / (n_tokens - 1)


def costs(path: Path) -> Iterator[tuple[str, float, float]]:
    """Name, microseconds per token, and the median ratio to the bare loop of the same round."""
    with Llama(str(path), n_ctx=512, verbose=False) as llm:
        loop = RawLoop(llm)
        cases: dict[str, Callable[[], float]] = {
            "no constraint": lambda: seconds_per_token(llm),
            **{
                name: lambda options=options: seconds_per_token(llm, **options)  # type: ignore[misc]
                for name, (options, _) in CASES.items()
            },
        }
        for case in cases.values():
            case()
        ratios: dict[str, list[float]] = {name: [] for name in cases}
        times: dict[str, float] = dict.fromkeys(cases, float("inf"))
        for _ in range(ROUNDS):
            for name, case in cases.items():
                before, took, after = loop.run(N_TOKENS), case(), loop.run(N_TOKENS)
                ratios[name].append(took / ((before + after) / 2 / (N_TOKENS - 1)))
                times[name] = min(times[name], took)
        loop.close()
    for name in cases:
        yield name, times[name] * 1e6, statistics.median(ratios[name])


def share_of_eight(path: Path) -> float:
    """Tokens per second of eight texts with schemas of their own, as a share of eight free ones."""
    with Llama(str(path), n_ctx=512, n_parallel=N_SEQUENCES, verbose=False) as llm:

        def run(schemas: list[dict[str, Any] | None]) -> float:
            def write(schema: dict[str, Any] | None) -> int:
                answer: Any = llm(
                    PROMPT, max_tokens=N_TOKENS, ignore_eos=True, schema=schema, **SAMPLING
                )
                return int(answer["usage"]["completion_tokens"])

            start = time.perf_counter()
            with ThreadPoolExecutor(N_SEQUENCES) as pool:
                count: int = sum(pool.map(write, schemas))
            return count / (time.perf_counter() - start)

        free: list[dict[str, Any] | None] = [None] * N_SEQUENCES
        schemas: list[dict[str, Any] | None] = [
            {**_MANY, "items": {"type": "string", "maxLength": 10 + number}}
            for number in range(N_SEQUENCES)
        ]
        run(schemas)
        rounds = [(run(schemas), run(free)) for _ in range(ROUNDS)]
    return statistics.median(ours / theirs for ours, theirs in rounds)


def gain_of_objects(path: Path) -> float:
    """Tokens per second of an object with fixed keys, as a multiple of those of free text."""
    with Llama(str(path), n_ctx=512, verbose=False) as llm:

        def speed(**options: Any) -> float:
            start = time.perf_counter()
            answer: Any = llm("A person as JSON: ", max_tokens=80, temperature=0, **options)
            return float(answer["usage"]["completion_tokens"]) / (time.perf_counter() - start)

        speed(schema=OBJECT)
        rounds = [(speed(schema=OBJECT), speed(ignore_eos=True)) for _ in range(ROUNDS)]
    return statistics.median(ours / theirs for ours, theirs in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["32k", "128k"], help="names or GGUF files")
    options = parser.parse_args()
    paths = model_paths()
    print(f"{'model':10} {'constraint':30} {'us/token':>9} {'ratio':>6} {'target':>6}")
    for model in options.models:
        path, label = (paths[model] if model in NAMES else Path(model)), Path(model).stem[:10]
        for name, microseconds, ratio in costs(path):
            target = f"{CASES[name][1]:6.2f}" if name in CASES else ""
            print(f"{label:10} {name:30} {microseconds:9.1f} {ratio:6.2f} {target}", flush=True)
        print(f"{label:10} eight texts, of eight free ones {share_of_eight(path):14.2f}   0.90")
        print(f"{label:10} an object, of free text         {gain_of_objects(path):14.2f}   1.50")


if __name__ == "__main__":
    main()
