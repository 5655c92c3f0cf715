"""What a streamed chat costs above a streamed completion, and whether that grows with the reply.

A reply is read by a parser after every token. Prints, per kind of reply, the time per token
relative to a streamed completion of as many tokens, and that of the last tokens relative to that
of the first.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from statistics import median
from typing import Any

from llama_cpp import Llama
from llama_cpp.models import tinychat

TOKENS = 1500
LONG = {"type": "string", "minLength": 1900}
TOOL = {
    "type": "function",
    "function": {
        "name": "write",
        "parameters": {"type": "object", "properties": {"text": LONG}, "required": ["text"]},
    },
}
QUESTION = [{"role": "user", "content": "Tell me a story."}]
OPTIONS: dict[str, Any] = {
    "max_tokens": TOKENS, "temperature": 1.0, "seed": 1, "stream": True, "ignore_eos": True,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "text": {},
    "a thought": {"enable_thinking": True},
    "a call": {"tools": [TOOL], "tool_choice": "required", "ignore_eos": False},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with Llama(tinychat(), n_ctx=2048, n_threads=1, verbose=False) as llm:
        print(f"{'reply':18} per token   last 300 / first 300")
        for name, options in KINDS.items():
            ratios, growths = [], []
            for _ in range(rounds):
                plain = times(llm.create_completion("Tell me a story.", **OPTIONS))
                chat = times(llm.create_chat_completion(QUESTION, **{**OPTIONS, **options}))
                ratios.append(median(chat) / median(plain))
                growths.append(growth(chat) / growth(plain))
            print(f"{name:18} {median(ratios):8.2f} x   {median(growths):6.2f} x")


def times(chunks: Any) -> list[float]:
    """Seconds between chunks."""
    marks = [time.perf_counter()]
    for _ in chunks:
        marks.append(time.perf_counter())
    return [after - before for before, after in pairwise(marks[1:])]


def growth(seconds: list[float]) -> float:
    return median(seconds[-300:]) / median(seconds[:300])


if __name__ == "__main__":
    main()
