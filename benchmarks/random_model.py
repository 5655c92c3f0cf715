"""A random model of half a billion parameters, in the shape of the smallest ones that people serve.

Run it with ``.venv/bin/python benchmarks/random_model.py [FOLDER]``, or let ``server.py`` do so. It
takes half a minute, 1.5 GB of memory and, for a while, of disk; the file has 350 MB.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

# The tiny random models of the tests serve here too; the tests are no package to import from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "kits"))

from zoo import write_llama
from zoo_vocab import Vocab, upstream_vocab

from llama_cpp import quantize

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "benchmarks"
_SPACE = "\u0120"  # how byte-level vocabularies write it


class _AsciiVocab(Vocab):
    """Its tokens are all there, but a random model says only those of plain text.

    Others may be parts of characters, which servers hold back until the rest of them comes: then
    their clients would not see every token when it is made.
    """

    def wordless_ids(self) -> list[int]:
        ids = super().wordless_ids()
        for token, text in enumerate(self.tokens):
            plain = text.replace(_SPACE, " ")
            if not (plain.isascii() and plain.isprintable()):
                ids.append(token)
        return ids


def random_model(folder: Path = FOLDER) -> Path:
    """Write the model into `folder`, unless it is there.

    The shape and the vocabulary are Qwen2.5-0.5B's: 24 layers, and 152,000 tokens, whose matrix
    takes a third of the parameters.
    """
    path = folder / "random-0.5B-Q4_0.gguf"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    vocab = _AsciiVocab(**{
        field.name: getattr(upstream_vocab("qwen2"), field.name)
        for field in dataclasses.fields(Vocab)
    })  # fmt: skip
    whole = write_llama(
        path.with_suffix(".f16"), vocab=vocab, dtype="f16", n_layer=24, n_embd=896, n_head=14,
        n_head_kv=2, n_ff=4864, n_ctx_train=32768,
    )  # fmt: skip
    try:
        quantize(whole, path, "Q4_0")
    finally:
        whole.unlink()
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    print(random_model(parser.parse_args().folder))


if __name__ == "__main__":
    main()
