"""The vocabularies that llama.cpp tests its tokenizers with, and the ids that it expects."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "vendor" / "llama.cpp" / "models"
PREFIX = "ggml-vocab-"
NAMES = sorted(path.stem.removeprefix(PREFIX) for path in FOLDER.glob(f"{PREFIX}*.gguf"))
NAMES_WITH_CASES = [name for name in NAMES if (FOLDER / f"{PREFIX}{name}.gguf.inp").exists()]
SEPARATOR = b"\n__ggml_vocab_test__\n"

# fmt: off
_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}
# fmt: on
_STRING, _ARRAY = 8, 9


def vocab_file(name: str) -> Path:
    """The GGUF file, which has a vocabulary and no tensors."""
    return FOLDER / f"{PREFIX}{name}.gguf"


def read_texts(name: str) -> list[bytes]:
    texts = (FOLDER / f"{PREFIX}{name}.gguf.inp").read_bytes().split(SEPARATOR)
    return texts if texts[-1] else texts[:-1]


def read_ids(name: str) -> list[list[int]]:
    """What each of the texts becomes without special tokens."""
    lines = (FOLDER / f"{PREFIX}{name}.gguf.out").read_text("ascii").splitlines()
    return [[int(token) for token in line.split()] for line in lines]


def read_metadata(path: Path) -> dict[str, Any]:
    """Every metadata pair of a file; gguf-py needs seconds for a vocabulary of this size."""
    data = path.read_bytes()
    at = 0

    def take(layout: str) -> tuple[Any, ...]:
        nonlocal at
        start, at = at, at + struct.calcsize(layout)
        return struct.unpack_from(layout, data, start)

    def string() -> str:
        nonlocal at
        (length,) = take("<Q")
        start, at = at, at + length
        return data[start:at].decode()

    def value(kind: int) -> Any:
        if kind == _STRING:
            return string()
        if kind != _ARRAY:
            return take(f"<{_SCALARS[kind]}")[0]
        kind, length = take("<IQ")
        if kind == _STRING:
            return [string() for _ in range(length)]
        return list(take(f"<{length}{_SCALARS[kind]}"))

    _magic, _version, _tensors, pairs = take("<4sIQQ")
    return {string(): value(*take("<I")) for _ in range(pairs)}
