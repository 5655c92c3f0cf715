"""What guessing tokens ahead saves on text that repeats itself, and costs on text that does not.

Prints the time of a completion without a draft model by that with one, so 2.0 is twice as fast.
The prompt of the first kind says the same again and again; the second is at a high temperature.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

from llama_cpp import Llama
from llama_cpp.models import tinychat

TOKENS = 1000
LIST = "The sun is up and the sky is blue. " * 20
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "repetitive": (LIST, {"temperature": 0}),
    "random": ("Once upon a time", {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    options: dict[str, Any] = {
        "n_ctx": 2048, "verbose": False, "n_threads": arguments.threads,
        "n_threads_batch": arguments.threads,
    }  # fmt: skip
    with (
        Llama(tinychat(), **options) as plain,
        Llama(tinychat(), draft_model="ngram", **options) as drafted,
    ):
        for kind, (prompt, sampling) in KINDS.items():
            ratios, accepted = [], 0.0
            for seed in range(arguments.rounds):
                without, _ = timed(plain, prompt, seed, sampling)
                with_drafts, details = timed(drafted, prompt, seed, sampling)
                ratios.append(without / with_drafts)
                accepted = details.get("accepted_prediction_tokens", 0) / TOKENS
            print(f"{kind:10} {median(ratios):5.2f} x, {accepted:4.0%} of the tokens were guessed")


def timed(
    llm: Llama, prompt: str, seed: int, sampling: dict[str, Any]
) -> tuple[float, dict[str, int]]:
    start = time.perf_counter()
    answer: Any = llm.create_completion(
        prompt, max_tokens=TOKENS, ignore_eos=True, seed=seed, **sampling
    )
    details = answer["usage"].get("completion_tokens_details", {})
    return time.perf_counter() - start, details


if __name__ == "__main__":
    main()
