"""Tiny random-weight GGUF models for the tests.

Every writer takes the path to write, returns it, and yields the same bytes for the same
arguments, so a test may compare results across two files or two runs. The weights mean nothing:
they are scaled so that logits spread with a standard deviation of about one and depend on the
whole context, which is what makes a wrong position, cache or adapter visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import gguf
import numpy as np
import numpy.typing as npt
from gguf.constants import Keys
from tiny_vocab import Vocab, bpe_vocab, spm_vocab, unigram_vocab, wordpiece_vocab

WeightType = Literal["f32", "f16"]
Pooling = Literal["none", "mean", "cls", "last", "rank"]

CHATML_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class _TinyFile:
    """One GGUF file in the making, with the random stream its weights come from."""

    def __init__(self, path: Path, arch: str, seed: int, dtype: WeightType = "f32") -> None:
        self.path = path
        self.writer = gguf.GGUFWriter(path, arch)
        self._half = dtype == "f16"
        self._random = np.random.default_rng(seed)

    def describe(self, n_ctx: int, n_embd: int, n_layer: int, n_ff: int, n_head: int) -> None:
        kind = gguf.LlamaFileType
        self.writer.add_type("model")
        self.writer.add_name(f"tiny {self.writer.arch}")
        self.writer.add_file_type(kind.MOSTLY_F16 if self._half else kind.ALL_F32)
        self.writer.add_context_length(n_ctx)
        self.writer.add_embedding_length(n_embd)
        self.writer.add_block_count(n_layer)
        self.writer.add_feed_forward_length(n_ff)
        self.writer.add_head_count(n_head)

    def normal(self, *shape: int, scale: float = 1.0) -> npt.NDArray[np.float32]:
        values = self._random.standard_normal(shape, dtype=np.float32)
        values *= np.float32(scale)
        return values

    def add(self, name: str, values: npt.NDArray[np.float32]) -> None:
        half = self._half and values.ndim > 1
        self.writer.add_tensor(name, values.astype(np.float16) if half else values)

    def matrix(self, name: str, n_out: int, n_in: int, gain: float = 1.0) -> None:
        self.add(f"{name}.weight", self.normal(n_out, n_in, scale=gain / n_in**0.5))

    def norm(self, name: str, size: int, *, bias: bool = False) -> None:
        self.add(f"{name}.weight", self.normal(size, scale=0.1) + np.float32(1))
        if bias:
            self.add(f"{name}.bias", self.normal(size, scale=0.1))

    def embedding(
        self, vocab: Vocab, n_embd: int, name: str = "token_embd", scale: float | None = None
    ) -> None:
        weight = self.normal(len(vocab.tokens), n_embd, scale=scale or n_embd**-0.5)
        # The same matrix makes the logits where there is no output tensor: small rows keep these
        # tokens from ever being the likeliest, so that greedy generation neither ends early nor
        # breaks off in the middle of a character.
        weight[vocab.wordless_ids()] *= np.float32(0.25)
        self.add(f"{name}.weight", weight)

    def finish(self) -> Path:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        return self.path


def write_llama(
    path: Path,
    *,
    seed: int = 0,
    vocab: Literal["spm", "bpe"] = "spm",
    vocab_file: Path | None = None,
    chat_template: str | None = CHATML_TEMPLATE,
    n_embd: int = 256,
    n_head: int = 4,
    n_head_kv: int = 2,
    n_layer: int = 2,
    n_ff: int = 256,
    n_ctx_train: int = 512,
    dtype: WeightType = "f32",
) -> Path:
    """A llama decoder; its default widths are multiples of 256, as K-quants need."""
    words = _llama_vocab(vocab, vocab_file)
    out = _TinyFile(path, "llama", seed, dtype)
    out.describe(n_ctx_train, n_embd, n_layer, n_ff, n_head)
    out.writer.add_head_count_kv(n_head_kv)
    out.writer.add_rope_dimension_count(n_embd // n_head)
    out.writer.add_layer_norm_rms_eps(1e-5)
    out.writer.add_vocab_size(len(words.tokens))
    words.write(out.writer)
    if chat_template is not None:
        out.writer.add_chat_template(chat_template)
    out.embedding(words, n_embd)
    for block in (f"blk.{layer}" for layer in range(n_layer)):
        n_kv = n_embd // n_head * n_head_kv
        out.norm(f"{block}.attn_norm", n_embd)
        # Sharp attention: near-uniform weights would soon settle on one token and repeat it.
        out.matrix(f"{block}.attn_q", n_embd, n_embd, gain=2)
        out.matrix(f"{block}.attn_k", n_kv, n_embd, gain=2)
        out.matrix(f"{block}.attn_v", n_kv, n_embd)
        out.matrix(f"{block}.attn_output", n_embd, n_embd)
        out.norm(f"{block}.ffn_norm", n_embd)
        out.matrix(f"{block}.ffn_gate", n_ff, n_embd)
        out.matrix(f"{block}.ffn_up", n_ff, n_embd)
        out.matrix(f"{block}.ffn_down", n_embd, n_ff)
    out.norm("output_norm", n_embd)
    return out.finish()


def _llama_vocab(kind: Literal["spm", "bpe"], vocab_file: Path | None) -> Vocab:
    if kind == "spm":
        return spm_vocab()
    if vocab_file is None:
        raise ValueError("vocab='bpe' needs a vocab_file to take the tokenizer from")
    return bpe_vocab(vocab_file)


def write_lora(
    path: Path,
    *,
    seed: int = 1,
    n_embd: int = 256,
    n_layer: int = 2,
    n_ff: int = 256,
    rank: int = 4,
    alpha: float = 8.0,
) -> Path:
    """A LoRA adapter for `write_llama` of the same sizes, strong enough to change its answers."""
    out = _TinyFile(path, "llama", seed)
    out.writer.add_type("adapter")
    out.writer.add_string(Keys.Adapter.TYPE, "lora")
    out.writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
    for layer in range(n_layer):
        for name, n_in in (("attn_output", n_embd), ("ffn_down", n_ff)):
            target = f"blk.{layer}.{name}.weight"
            out.add(f"{target}.lora_a", out.normal(rank, n_in, scale=n_in**-0.5))
            out.add(f"{target}.lora_b", out.normal(n_embd, rank, scale=rank**-0.5))
    return out.finish()


def write_mamba(
    path: Path,
    *,
    seed: int = 0,
    n_embd: int = 128,
    n_layer: int = 2,
    n_ctx_train: int = 512,
    d_conv: int = 4,
    d_state: int = 16,
) -> Path:
    """Mamba 1: a recurrent state in place of a KV cache, the vocabulary of `write_llama`."""
    words = spm_vocab()
    d_inner, dt_rank = 2 * n_embd, max(1, n_embd // 16)
    out = _TinyFile(path, "mamba", seed)
    out.describe(n_ctx_train, n_embd, n_layer, n_ff=0, n_head=0)
    out.writer.add_ssm_conv_kernel(d_conv)
    out.writer.add_ssm_inner_size(d_inner)
    out.writer.add_ssm_state_size(d_state)
    out.writer.add_ssm_time_step_rank(dt_rank)
    out.writer.add_layer_norm_rms_eps(1e-5)
    words.write(out.writer)
    out.embedding(words, n_embd)
    # The usual start values: decay rates 1..d_state, and time steps (after softplus) near 0.1,
    # small enough for the state to remember several tokens.
    decay = np.tile(-np.arange(1, d_state + 1, dtype=np.float32), (d_inner, 1))
    for block in (f"blk.{layer}" for layer in range(n_layer)):
        out.norm(f"{block}.attn_norm", n_embd)
        out.matrix(f"{block}.ssm_in", 2 * d_inner, n_embd)
        out.matrix(f"{block}.ssm_conv1d", d_inner, d_conv)
        out.add(f"{block}.ssm_conv1d.bias", out.normal(d_inner, scale=0.1))
        out.matrix(f"{block}.ssm_x", dt_rank + 2 * d_state, d_inner)
        out.matrix(f"{block}.ssm_dt", d_inner, dt_rank)
        out.add(f"{block}.ssm_dt.bias", np.full(d_inner, -2.25, dtype=np.float32))
        out.add(f"{block}.ssm_a", decay)
        out.add(f"{block}.ssm_d", np.ones(d_inner, dtype=np.float32))
        out.matrix(f"{block}.ssm_out", n_embd, d_inner)
    out.norm("output_norm", n_embd)
    return out.finish()


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
    out = _TinyFile(path, "t5", seed)
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


def _add_t5_attention(out: _TinyFile, prefix: str, n_embd: int, head_size: int) -> None:
    out.norm(f"{prefix}_norm", n_embd)
    # T5 does not divide its scores by the root of the head size; the query weights carry that.
    out.matrix(f"{prefix}_q", n_embd, n_embd, gain=head_size**-0.5)
    for name in ("k", "v", "o"):
        out.matrix(f"{prefix}_{name}", n_embd, n_embd)


def write_bert(
    path: Path,
    *,
    seed: int = 0,
    pooling: Pooling = "mean",
    n_embd: int = 128,
    n_head: int = 2,
    n_layer: int = 2,
    n_ff: int = 256,
    n_ctx_train: int = 512,
) -> Path:
    """A BERT encoder, which keeps no memory between batches."""
    out = _TinyFile(path, "bert", seed)
    _add_bert(
        out,
        pooling,
        n_embd=n_embd,
        n_head=n_head,
        n_layer=n_layer,
        n_ff=n_ff,
        n_ctx_train=n_ctx_train,
    )
    return out.finish()


def write_classifier(
    path: Path,
    *,
    seed: int = 0,
    labels: Sequence[str] = ("negative", "positive"),
    n_embd: int = 128,
    n_head: int = 2,
    n_layer: int = 2,
    n_ff: int = 256,
    n_ctx_train: int = 512,
) -> Path:
    """BERT with rank pooling: one score per label instead of an embedding."""
    out = _TinyFile(path, "bert", seed)
    out.writer.add_classifier_output_labels(labels)
    _add_bert(
        out,
        "rank",
        n_embd=n_embd,
        n_head=n_head,
        n_layer=n_layer,
        n_ff=n_ff,
        n_ctx_train=n_ctx_train,
    )
    out.matrix("cls", n_embd, n_embd)
    out.add("cls.bias", out.normal(n_embd, scale=0.1))
    out.matrix("cls.output", len(labels), n_embd)
    out.add("cls.output.bias", out.normal(len(labels), scale=0.1))
    return out.finish()


def _add_bert(
    out: _TinyFile,
    pooling: Pooling,
    *,
    n_embd: int,
    n_head: int,
    n_layer: int,
    n_ff: int,
    n_ctx_train: int,
) -> None:
    words = wordpiece_vocab()
    out.describe(n_ctx_train, n_embd, n_layer, n_ff, n_head)
    out.writer.add_layer_norm_eps(1e-12)
    out.writer.add_causal_attention(False)
    out.writer.add_pooling_type(gguf.PoolingType[pooling.upper()])
    out.writer.add_token_type_count(2)
    words.write(out.writer)
    out.embedding(words, n_embd)
    out.matrix("token_types", 2, n_embd, gain=0.2)
    out.matrix("position_embd", n_ctx_train, n_embd, gain=0.2)
    out.norm("token_embd_norm", n_embd, bias=True)
    for block in (f"blk.{layer}" for layer in range(n_layer)):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            out.matrix(f"{block}.{name}", n_embd, n_embd)
            out.add(f"{block}.{name}.bias", out.normal(n_embd, scale=0.1))
        out.norm(f"{block}.attn_output_norm", n_embd, bias=True)
        out.matrix(f"{block}.ffn_up", n_ff, n_embd)
        out.add(f"{block}.ffn_up.bias", out.normal(n_ff, scale=0.1))
        out.matrix(f"{block}.ffn_down", n_embd, n_ff)
        out.add(f"{block}.ffn_down.bias", out.normal(n_embd, scale=0.1))
        out.norm(f"{block}.layer_output_norm", n_embd, bias=True)
