"""The tokenizer: SentencePiece BPE with byte fallback, shaped so that values copy well.

A capitalised word, a digit and a quoted value have the same tokens wherever they stand: no piece
joins a space to a capital letter or to a digit, and none joins letters to punctuation. So " Anna",
'"Anna"' and "Anna," all hold the same tokens, and a model of a few million parameters can learn
to copy a name that it has never seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

N_VOCAB = 2048
BOS, EOS = 1, 2

CONTROL_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
)
VISIBLE_TOKENS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<tools>",
    "</tools>",
)
"""Tags that stay in the text of a reply, so that whoever reads it can find them."""

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_BORDER = "\t"
_SPECIAL = re.compile("(" + "|".join(map(re.escape, ("<s>", "</s>", *CONTROL_TOKENS))) + ")")
_UNITS = re.compile(r" ?[a-z]+|[A-Z][a-z]*|\d| +|[^\sA-Za-z0-9]+(?: [^\sA-Za-z0-9]+)*|\s", re.ASCII)


def train(texts: Iterable[str], path: Path) -> Path:
    """Train a tokenizer and write it to ``path``, which ends in ``.model``."""
    lines = [
        _BORDER.join(_UNITS.findall(line))
        for text in texts
        for line in _without_special(text).split("\n")
        if line and line.isascii()
    ]
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(lines),
        model_prefix=str(path.with_suffix("")),
        model_type="bpe",
        vocab_size=N_VOCAB,
        unk_id=0,
        bos_id=BOS,
        eos_id=EOS,
        control_symbols=list(CONTROL_TOKENS),
        user_defined_symbols=list(VISIBLE_TOKENS),
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        pretokenization_delimiter=_BORDER,
        required_chars="".join(map(chr, range(33, 127))),
        max_sentence_length=65536,
        num_threads=1,
        minloglevel=2,
    )
    return path


def _without_special(text: str) -> str:
    for token in (*CONTROL_TOKENS, *VISIBLE_TOKENS):
        text = text.replace(token, "\n")
    return text


class Tokenizer:
    """Text to ids, with the special tokens in the text understood as such."""

    def __init__(self, path: Path) -> None:
        self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for index, part in enumerate(_SPECIAL.split(text)):
            if index % 2:
                ids.append(self._pieces.PieceToId(part))
            elif part:
                ids.extend(self._pieces.Encode(part))
        return ids
