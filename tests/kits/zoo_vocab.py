"""The vocabularies of the tiny models.

The small ones, one per kind of tokenizer, split plain English into few tokens, a token per common
word at best. Byte-level BPE is cut out of a whole vocabulary of upstream, the other kinds are made
from the word list below.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import gguf
import upstream_vocabs
from gguf.constants import Keys

_SPACE = "\u2581"
_PRINTABLE = tuple(chr(code) for code in range(33, 127))
_LOWERED = tuple(char for char in _PRINTABLE if not char.isupper())
_WORDS = (
    "the of and to in is you that it he was for on are as with his they at be this have from or "
    "one had by word but not what all were we when your can said there use an each which she do "
    "how their if will up other about out many then them these so some her would make like him "
    "into time has look two more write go see number no way could people my than first water been "
    "call who now find long down day did get come made may part hello world quick brown fox jumps "
    "over lazy dog once upon little name model test answer question user system assistant The "
    "Hello World What"
).split()
_FRAGMENTS = (
    "in er an re on at en es or te ed is al ar st le ve me ri ro ic ne ra li ch ll be si ur "
    "ing ent io ion ti tion"
).split()


@dataclasses.dataclass(frozen=True)
class Vocab:
    """The tokenizer.ggml.* part of a model; `ids` and `flags` are keyed by full GGUF key."""

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...] = ()
    merges: tuple[str, ...] = ()
    ids: Mapping[str, int] = dataclasses.field(default_factory=dict)
    flags: Mapping[str, bool] = dataclasses.field(default_factory=dict)

    def write(self, writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_scores(self.scores)
        if self.merges:
            writer.add_token_merges(self.merges)
        for key, token in self.ids.items():
            writer.add_uint32(key, token)
        for key, flag in self.flags.items():
            writer.add_bool(key, flag)

    def wordless_ids(self) -> list[int]:
        """The tokens that show no text of their own: specials and the bytes of the fallback."""
        wordless = (gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN, gguf.TokenType.BYTE)
        return [token for token, kind in enumerate(self.types) if kind in wordless]


def _word_pieces() -> list[str]:
    # SentencePiece merges two neighbours at a time, so a word is only reachable when every
    # prefix of it is a piece as well.
    prefixes = (_SPACE + word[:end] for word in _WORDS for end in range(1, len(word) + 1))
    return list(dict.fromkeys([*prefixes, *_FRAGMENTS]))


def _assemble(groups: Sequence[tuple[gguf.TokenType, Sequence[str]]], **rest: Any) -> Vocab:
    tokens = tuple(token for _, group in groups for token in group)
    types = tuple(int(kind) for kind, group in groups for _ in group)
    # Both tokenizers that read scores want the higher one for the longer piece; the Viterbi
    # search of the unigram kind wants them negative besides.
    scores = tuple(
        -100.0 / len(token) if kind == gguf.TokenType.NORMAL else 0.0
        for token, kind in zip(tokens, types, strict=True)
    )
    return Vocab(tokens=tokens, types=types, scores=scores, **rest)


@functools.cache
def spm_vocab() -> Vocab:
    """SentencePiece BPE with byte fallback, ChatML and fill-in-the-middle tokens."""
    control = ["<s>", "</s>"]
    added = ["<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
    data = [f"<0x{byte:02X}>" for byte in range(256)]
    first_added = 1 + len(control) + len(data)
    return _assemble(
        [
            (gguf.TokenType.UNKNOWN, ["<unk>"]),
            (gguf.TokenType.CONTROL, control),
            (gguf.TokenType.BYTE, data),
            (gguf.TokenType.CONTROL, added),
            (gguf.TokenType.USER_DEFINED, ["<tool_call>"]),
            (gguf.TokenType.NORMAL, [_SPACE, *_PRINTABLE, *_word_pieces()]),
        ],
        model="llama",
        pre="default",
        ids={
            Keys.Tokenizer.UNK_ID: 0,
            Keys.Tokenizer.BOS_ID: 1,
            Keys.Tokenizer.EOS_ID: 2,
            Keys.Tokenizer.EOT_ID: first_added + 1,
            Keys.Tokenizer.FIM_PRE_ID: first_added + 2,
            Keys.Tokenizer.FIM_SUF_ID: first_added + 3,
            Keys.Tokenizer.FIM_MID_ID: first_added + 4,
        },
        flags={Keys.Tokenizer.ADD_BOS: True, Keys.Tokenizer.ADD_EOS: False},
    )


@functools.cache
def wordpiece_vocab() -> Vocab:
    """BERT's: lower case only, a marked piece starts a word and a bare one continues it."""
    starts = [_SPACE + char for char in _LOWERED]
    words = [piece for piece in _word_pieces() if piece == piece.lower()]
    return _assemble(
        [
            (gguf.TokenType.CONTROL, ["[PAD]"]),
            (gguf.TokenType.UNKNOWN, ["[UNK]"]),
            (gguf.TokenType.CONTROL, ["[CLS]", "[SEP]", "[MASK]"]),
            (gguf.TokenType.NORMAL, list(dict.fromkeys([*starts, *_LOWERED, *words]))),
        ],
        model="bert",
        pre="default",
        ids={
            Keys.Tokenizer.PAD_ID: 0,
            Keys.Tokenizer.UNK_ID: 1,
            Keys.Tokenizer.BOS_ID: 2,
            Keys.Tokenizer.SEP_ID: 3,
            Keys.Tokenizer.MASK_ID: 4,
        },
    )


@functools.cache
def unigram_vocab() -> Vocab:
    """T5's, without a character map: the text reaches the search unnormalised."""
    return _assemble(
        [
            (gguf.TokenType.CONTROL, ["<pad>", "</s>"]),
            (gguf.TokenType.UNKNOWN, ["<unk>"]),
            (gguf.TokenType.NORMAL, [_SPACE, *_PRINTABLE, *_word_pieces()]),
        ],
        model="t5",
        pre="default",
        ids={Keys.Tokenizer.PAD_ID: 0, Keys.Tokenizer.EOS_ID: 1, Keys.Tokenizer.UNK_ID: 2},
        flags={
            Keys.Tokenizer.ADD_BOS: False,
            Keys.Tokenizer.ADD_EOS: True,
            Keys.Tokenizer.ADD_PREFIX: True,
            Keys.Tokenizer.REMOVE_EXTRA_WS: True,
        },
    )


@functools.cache
def upstream_vocab(name: str) -> Vocab:
    """A whole vocabulary of real size; `upstream_vocabs` has its texts and their ids."""
    found = upstream_vocabs.read_metadata(upstream_vocabs.vocab_file(name))
    return Vocab(
        model=found[Keys.Tokenizer.MODEL],
        pre=found[Keys.Tokenizer.PRE],
        tokens=tuple(found[Keys.Tokenizer.LIST]),
        types=tuple(found[Keys.Tokenizer.TOKEN_TYPE]),
        scores=tuple(found.get(Keys.Tokenizer.SCORES, ())),
        merges=tuple(found.get(Keys.Tokenizer.MERGES, ())),
        ids={key: found[key] for key in found if key.endswith("_token_id")},
        flags={
            key: value
            for key, value in found.items()
            if key.startswith("tokenizer.") and isinstance(value, bool)
        },
    )


@functools.cache
def bpe_vocab(n_merges: int = 400) -> Vocab:
    """The byte-level BPE vocabulary of GPT-2, cut down to its first merges.

    The whole one of 50,000 tokens would make the embedding alone larger than all other tiny models
    together. The special tokens all stay, under new ids.
    """
    whole = upstream_vocab("gpt-2")
    merges = whole.merges[:n_merges]
    merged = {merge.replace(" ", "") for merge in merges}
    kept = [
        token
        for token, (text, kind) in enumerate(zip(whole.tokens, whole.types, strict=True))
        if kind != gguf.TokenType.NORMAL or len(text) == 1 or text in merged
    ]
    renumbered = {old: new for new, old in enumerate(kept)}
    return dataclasses.replace(
        whole,
        tokens=tuple(whole.tokens[token] for token in kept),
        types=tuple(whole.types[token] for token in kept),
        merges=merges,
        ids={key: renumbered[token] for key, token in whole.ids.items()},
    )
