"""Tiny encoders: BERT, which keeps no memory between batches, under its heads; and T5."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import gguf
from gguf.constants import Keys
from zoo_file import TinyFile
from zoo_vocab import Vocab, unigram_vocab, wordpiece_vocab

Pooling = Literal["none", "mean", "cls", "last", "rank"]


@dataclasses.dataclass(frozen=True)
class BertSize:
    """The widths of a BERT."""

    n_embd: int = 128
    n_head: int = 2
    n_layer: int = 2
    n_ff: int = 256
    n_ctx_train: int = 512


_SMALL = BertSize()


def write_bert(
    path: Path, *, seed: int = 0, pooling: Pooling = "mean", size: BertSize = _SMALL
) -> Path:
    """A BERT encoder: an embedding of the text."""
    out = TinyFile(path, "bert", seed)
    _add_bert(out, wordpiece_vocab(), pooling, size)
    return out.finish()


def write_classifier(
    path: Path,
    *,
    seed: int = 0,
    labels: Sequence[str] = ("negative", "positive"),
    size: BertSize = _SMALL,
) -> Path:
    """BERT with rank pooling: one score per label instead of an embedding."""
    out = TinyFile(path, "bert", seed)
    out.writer.add_classifier_output_labels(labels)
    _add_bert(out, wordpiece_vocab(), "rank", size)
    _add_scores(out, len(labels), size)
    return out.finish()


def write_reranker(
    path: Path, *, seed: int = 0, add_sep: bool = False, size: BertSize = _SMALL
) -> Path:
    """BERT with rank pooling and one score without a label, for a question and a document.

    Args:
        path: The file to write.
        seed: That of the weights.
        add_sep: Which pair the vocabulary asks for: ``[CLS] question [SEP] document [SEP]`` as
            BERT does, or with the doubled separator of XLM-RoBERTa.
        size: The widths.
    """
    words = wordpiece_vocab()
    separator = words.ids[Keys.Tokenizer.SEP_ID]
    flags = {Keys.Tokenizer.ADD_BOS: True, Keys.Tokenizer.ADD_EOS: True}
    pairs = dataclasses.replace(
        words,
        # What upstream's converter makes of a tokenizer that puts [SEP] after either text.
        ids={**words.ids, Keys.Tokenizer.EOS_ID: separator},
        flags={**flags, Keys.Tokenizer.ADD_SEP: add_sep},
    )
    out = TinyFile(path, "bert", seed)
    _add_bert(out, pairs, "rank", size)
    _add_scores(out, 1, size)
    return out.finish()


def _add_scores(out: TinyFile, n_scores: int, size: BertSize) -> None:
    out.matrix("cls", size.n_embd, size.n_embd)
    out.add("cls.bias", out.normal(size.n_embd, scale=0.1))
    out.matrix("cls.output", n_scores, size.n_embd)
    out.add("cls.output.bias", out.normal(n_scores, scale=0.1))


def _add_bert(out: TinyFile, words: Vocab, pooling: Pooling, size: BertSize) -> None:
    n_embd, n_ff = size.n_embd, size.n_ff
    out.describe(size.n_ctx_train, n_embd, size.n_layer, n_ff, size.n_head)
    out.writer.add_layer_norm_eps(1e-12)
    out.writer.add_causal_attention(False)
    out.writer.add_pooling_type(gguf.PoolingType[pooling.upper()])
    out.writer.add_token_type_count(2)
    words.write(out.writer)
    out.embedding(words, n_embd)
    out.matrix("token_types", 2, n_embd, gain=0.2)
    out.matrix("position_embd", size.n_ctx_train, n_embd, gain=0.2)
    out.norm("token_embd_norm", n_embd, bias=True)
    for block in (f"blk.{layer}" for layer in range(size.n_layer)):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            out.matrix(f"{block}.{name}", n_embd, n_embd)
            out.add(f"{block}.{name}.bias", out.normal(n_embd, scale=0.1))
        out.norm(f"{block}.attn_output_norm", n_embd, bias=True)
        out.matrix(f"{block}.ffn_up", n_ff, n_embd)
        out.add(f"{block}.ffn_up.bias", out.normal(n_ff, scale=0.1))
        out.matrix(f"{block}.ffn_down", n_embd, n_ff)
        out.add(f"{block}.ffn_down.bias", out.normal(n_embd, scale=0.1))
        out.norm(f"{block}.layer_output_norm", n_embd, bias=True)


def write_t5(
    path: Path,
    *,
    seed: int = 0,
    n_embd: int = 128,
    n_head: int = 2,
    n_layer: int = 2,
    n_ff: int = 256,
    n_ctx_train: int = 512,
    n_buckets: int = 32,
) -> Path:
    """T5: the encoder needs llama_encode, the decoder then starts from token 0, the padding."""
    words = unigram_vocab()
    out = TinyFile(path, "t5", seed)
    out.describe(n_ctx_train, n_embd, n_layer, n_ff, n_head)
    out.writer.add_key_length(n_embd // n_head)
    out.writer.add_value_length(n_embd // n_head)
    out.writer.add_layer_norm_eps(1e-6)
    out.writer.add_layer_norm_rms_eps(1e-6)
    out.writer.add_relative_attn_buckets_count(n_buckets)
    out.writer.add_decoder_start_token_id(0)
    words.write(out.writer)
    # The encoder's output adds the same to every decoder position. Only an embedding of the same
    # weight tells the positions apart, and that one is too large to make the logits too: the
    # decoder would repeat its last token for ever.
    out.embedding(words, n_embd, scale=1.0)
    out.embedding(words, n_embd, name="output")
    for side, kinds in (("enc", ("attn",)), ("dec", ("attn", "cross_attn"))):
        for block in (f"{side}.blk.{layer}" for layer in range(n_layer)):
            for kind in kinds:
                _add_t5_attention(out, f"{block}.{kind}", n_embd, n_embd // n_head)
            out.norm(f"{block}.ffn_norm", n_embd)
            out.matrix(f"{block}.ffn_up", n_ff, n_embd)
            out.matrix(f"{block}.ffn_down", n_embd, n_ff)
        # The first layer's table of position biases serves all layers of its side.
        out.add(f"{side}.blk.0.attn_rel_b.weight", out.normal(n_buckets, n_head))
        out.norm(f"{side}.output_norm", n_embd)
    return out.finish()


def _add_t5_attention(out: TinyFile, prefix: str, n_embd: int, head_size: int) -> None:
    out.norm(f"{prefix}_norm", n_embd)
    # T5 does not divide its scores by the root of the head size; the query weights carry that.
    out.matrix(f"{prefix}_q", n_embd, n_embd, gain=head_size**-0.5)
    for name in ("k", "v", "o"):
        out.matrix(f"{prefix}_{name}", n_embd, n_embd)
