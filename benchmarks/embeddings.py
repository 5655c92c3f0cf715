"""What embedding many texts costs above bare packed calls of the engine.

256 texts of mixed length, with a model of MiniLM's size and random weights. The bare calls have the
same tokens in the same batches and copy each vector out; the ratio is their time by ours, so 1.0 is
as fast. Ours tokenizes too, and makes lists of floats.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from llama_cpp import Llama
from llama_cpp.embeddings.batches import packed

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "kits"))
from zoo_encoders import BertSize, write_bert

WORDS = (
    "the of water answer question words people number would first made long little world".split()
)


def texts(count: int) -> list[str]:
    rng = random.Random(1)
    return [
        " ".join(rng.choices(WORDS, k=rng.choice([4, 8, 16, 32, 64, 120]))) for _ in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    size = BertSize(n_embd=384, n_head=12, n_layer=6, n_ff=1536)
    with tempfile.TemporaryDirectory() as folder:
        path = write_bert(Path(folder) / "bert.gguf", size=size)
        with Llama(str(path), n_ctx=512, verbose=False) as llm:
            compare(llm, texts(arguments.texts), arguments.rounds)


def compare(llm: Llama, inputs: list[str], rounds: int) -> None:
    llm.embed(inputs[:2])
    vocab = llm._model.vocab_handle
    prompts = [vocab.tokenize(text, parse_special=True) for text in inputs]
    n_tokens = sum(map(len, prompts))
    ratios, singles = [], []
    for _ in range(rounds):
        bare = seconds(lambda: bare_calls(llm.embeddings.embedder, prompts))
        together = seconds(lambda: llm.embed(inputs))
        alone = seconds(lambda: [llm.embed(text) for text in inputs[:32]])
        ratios.append(bare / together)
        singles.append(together / len(inputs) / (alone / 32))
    print(f"{len(inputs)} texts, {n_tokens} tokens: {n_tokens / together:,.0f} tokens/s")
    print(f"speed of embed, of bare packed calls   {median(ratios):.2f}")
    print(f"time of a text in a list, of one alone {median(singles):.2f}")


def bare_calls(embedder: Any, prompts: list[list[int]]) -> None:
    lengths = [len(prompt) for prompt in prompts]
    for numbers in packed(lengths, embedder._budget, embedder._n_sequences):
        embedder._decode([prompts[number] for number in numbers])
        for sequence in range(len(numbers)):
            embedder._context.sequence_embedding(sequence)


def seconds(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
