"""Eight threads on one model for a minute: is every result right, and is memory flat?

Run it with ``.venv/bin/python benchmarks/stress.py [--seconds 60] [--n-parallel 4]``. Each thread
draws a kind of call and a prompt, again and again, and compares with what the call gave alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

import psutil

from llama_cpp.llama import Llama
from llama_cpp.models import tinychat

N_THREADS = 8
CITIES = ("France", "Peru", "Japan", "Spain", "Italy", "Egypt", "Kenya", "Chile")
PROMPTS = (
    *(f"Q: What is the capital of {country}? A:" for country in CITIES),
    "Once upon a time",
    "def add(a, b):\n",
    "<|im_start|>user\nWrite a story about a fox.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWhat is 3 plus 4?<|im_end|>\n<|im_start|>assistant\n",
)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "streamed": {"stream": True},
    "left half-way": {"stream": True},
    "grammar": {"grammar": "root ::= [a-zA-Z ,.]*"},
    "logprobs": {"logprobs": 3},
}
LOGPROB_TOLERANCE = 0.05  # batches of another size round differently


class Stress:
    """The model, what it answers alone, and what went wrong."""

    def __init__(self, n_parallel: int) -> None:
        self.llm = Llama(tinychat(), n_ctx=512, n_parallel=n_parallel, verbose=False)
        self.calls: Counter[str] = Counter()
        self.wrong: list[tuple[str, str, object]] = []
        self.solo = {
            (kind, prompt): self.call(prompt, {**options, "stream": False})["choices"][0]
            for kind, options in KINDS.items()
            for prompt in PROMPTS
        }

    def call(self, prompt: str, options: dict[str, Any]) -> Any:
        return self.llm(prompt, max_tokens=40, temperature=0, **options)

    def work(self, seed: int, end: float) -> None:
        choose = random.Random(seed)
        while time.monotonic() < end:
            kind, prompt = choose.choice(list(KINDS)), choose.choice(PROMPTS)
            try:
                if not self.is_right(kind, prompt, choose):
                    self.wrong.append((kind, prompt, "another result"))
            except Exception as error:
                self.wrong.append((kind, prompt, error))
            self.calls[kind] += 1

    def is_right(self, kind: str, prompt: str, choose: random.Random) -> bool:
        alone = self.solo[kind, prompt]
        answer = self.call(prompt, KINDS[kind])
        if kind == "streamed":
            return bool("".join(part["choices"][0]["text"] for part in answer) == alone["text"])
        if kind == "left half-way":
            parts = zip(range(choose.randrange(6)), answer, strict=False)
            text = "".join(part["choices"][0]["text"] for _, part in parts)
            answer.close()
            return bool(alone["text"].startswith(text))
        choice = answer["choices"][0]
        return choice["text"] == alone["text"] and are_near(choice["logprobs"], alone["logprobs"])


def are_near(found: Any, expected: Any) -> bool:
    if found is None or expected is None:
        return found is expected
    pairs = zip(found["token_logprobs"], expected["token_logprobs"], strict=True)
    return found["tokens"] == expected["tokens"] and all(
        abs(a - b) < LOGPROB_TOLERANCE for a, b in pairs
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--n-parallel", type=int, default=4)
    options = parser.parse_args()
    stress = Stress(options.n_parallel)
    end = time.monotonic() + options.seconds
    threads = [threading.Thread(target=stress.work, args=(seed, end)) for seed in range(N_THREADS)]
    for thread in threads:
        thread.start()
    process = psutil.Process()
    while any(thread.is_alive() for thread in threads):
        time.sleep(options.seconds / 6)
        print(f"{process.memory_info().rss / 1e6:.1f} MB")
    print(f"{sum(stress.calls.values())} calls: {dict(stress.calls)}")
    print(f"{len(stress.wrong)} wrong {stress.wrong[:3] or ''}")
    return 1 if stress.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
