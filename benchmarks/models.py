"""The models that the benchmarks run: tinychat, and random ones with large vocabularies."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

# The tiny random models of the tests serve here too; the tests are no package to import from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "kits"))

from zoo import write_llama
from zoo_vocab import upstream_vocab

from llama_cpp.models import tinychat

_FOLDER = Path(tempfile.gettempdir()) / "llama-cpp-python-benchmarks"


NAMES = ("tinychat", "32k", "128k")


def model_name(text: str) -> str:
    """Check an argument of the command line."""
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(NAMES)}")
    return text


def model_paths() -> dict[str, Path]:
    """By name: tinychat, "32k" (9 M parameters) and "128k" (70 M parameters)."""
    _FOLDER.mkdir(exist_ok=True)
    paths = {"tinychat": Path(tinychat())}
    for name, vocab, n_embd in (("32k", "llama-spm", 256), ("128k", "llama-bpe", 512)):
        paths[name] = path = _FOLDER / f"{name}.gguf"
        if not path.exists():
            part = write_llama(
                path.with_suffix(".part"), vocab=upstream_vocab(vocab), n_embd=n_embd,
                n_head=8, n_ff=2 * n_embd, n_ctx_train=4096,
            )  # fmt: skip
            part.replace(path)
    return paths
