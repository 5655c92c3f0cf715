"""What guessing tokens ahead saves on text that repeats itself, and costs on text that does not.

Prints the time of a completion without a draft model by that with one, so 2.0 is twice as fast.
A negative penalty makes the first kind of text repeat itself, a high temperature the second random.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

from llama_cpp import Llama
from llama_cpp.models import tinychat

TOKENS = 400
KINDS: dict[str, dict[str, Any]] = {
    "repetitive": {"temperature": 0, "frequency_penalty": -2.0},
    "random": {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
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
        for kind, sampling in KINDS.items():
            times: dict[Llama, list[float]] = {plain: [], drafted: []}
            accepted = 0
            for seed in range(arguments.rounds):
                order = (plain, drafted) if seed % 2 else (drafted, plain)
                for llm in order:
                    seconds, n_accepted = timed(llm, seed, sampling)
                    times[llm].append(seconds)
                    accepted = max(accepted, n_accepted)
            ratio = median(times[plain]) / median(times[drafted])
            print(f"{kind:10} {ratio:5.2f} x, {accepted / TOKENS:4.0%} of the tokens were guessed")


def timed(llm: Llama, seed: int, sampling: dict[str, Any]) -> tuple[float, int]:
    start = time.perf_counter()
    answer: Any = llm.create_completion(
        "Once upon a time", max_tokens=TOKENS, ignore_eos=True, seed=seed, **sampling
    )
    details = answer["usage"].get("completion_tokens_details", {})
    return time.perf_counter() - start, details.get("accepted_prediction_tokens", 0)


if __name__ == "__main__":
    main()
