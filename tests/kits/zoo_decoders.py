"""Tiny decoders: one per kind of memory that a context can have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from zoo_file import TinyFile, WeightType
from zoo_vocab import Vocab, spm_vocab

CHATML_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# Sharp attention: near-uniform weights would soon settle on one token and repeat it.
_SHARP = 2.0


def write_llama(
    path: Path,
    *,
    seed: int = 0,
    vocab: Vocab | None = None,
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
    words = vocab or spm_vocab()
    out = TinyFile(path, "llama", seed, dtype)
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
        out.norm(f"{block}.attn_norm", n_embd)
        _add_attention(out, block, n_embd, n_embd // n_head * n_head_kv, gain=_SHARP)
        _add_feed_forward(out, block, n_embd, n_ff)
    out.norm("output_norm", n_embd)
    return out.finish()


def write_gemma3(
    path: Path,
    *,
    seed: int = 0,
    window: int = 16,
    windowed: Sequence[bool] = (True, False),
    n_embd: int = 128,
    n_head: int = 2,
    n_head_kv: int = 1,
    n_ff: int = 256,
    n_ctx_train: int = 512,
) -> Path:
    """Gemma 3: in a windowed layer a token sees itself and the `window` - 1 before it.

    Args:
        path: The file to write.
        seed: That of the weights.
        window: In tokens.
        windowed: For each layer, whether it has the window; the others see everything.
        n_embd: The width of the hidden state.
        n_head: Attention heads.
        n_head_kv: How many of them have keys and values of their own.
        n_ff: The width of the feed-forward layers.
        n_ctx_train: The context length to promise.
    """
    words, head_size = spm_vocab(), n_embd // n_head
    out = TinyFile(path, "gemma3", seed)
    out.describe(n_ctx_train, n_embd, len(windowed), n_ff, n_head)
    out.writer.add_head_count_kv(n_head_kv)
    out.writer.add_key_length(head_size)
    out.writer.add_value_length(head_size)
    out.writer.add_sliding_window(window)
    out.writer.add_sliding_window_pattern(windowed)
    out.writer.add_layer_norm_rms_eps(1e-6)
    words.write(out.writer)
    out.embedding(words, n_embd)
    # Gemma multiplies its embeddings by the root of the width. With the same matrix for the output
    # the likeliest next token would always be the last one.
    out.embedding(words, n_embd, name="output")
    for block in (f"blk.{layer}" for layer in range(len(windowed))):
        out.norm(f"{block}.attn_norm", n_embd)
        _add_attention(out, block, n_embd, head_size * n_head_kv)
        _add_head_norms(out, block, head_size)
        out.norm(f"{block}.post_attention_norm", n_embd)
        _add_feed_forward(out, block, n_embd, n_ff)
        out.norm(f"{block}.post_ffw_norm", n_embd)
    out.norm("output_norm", n_embd)
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
    out = TinyFile(path, "mamba", seed)
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


def write_lfm2(
    path: Path,
    *,
    seed: int = 0,
    attention: Sequence[bool] = (False, True),
    n_embd: int = 128,
    n_head: int = 2,
    n_head_kv: int = 1,
    n_ff: int = 256,
    n_ctx_train: int = 512,
    d_conv: int = 3,
) -> Path:
    """LFM2, a hybrid: layers with attention and a KV cache, and convolutions with a state.

    Args:
        path: The file to write.
        seed: That of the weights.
        attention: For each layer, whether it has attention; the others have a convolution.
        n_embd: The width of the hidden state.
        n_head: Attention heads.
        n_head_kv: How many of them have keys and values of their own.
        n_ff: The width of the feed-forward layers.
        n_ctx_train: The context length to promise.
        d_conv: How many tokens a convolution sees; the state is all of them but the newest.
    """
    words, head_size = spm_vocab(), n_embd // n_head
    out = TinyFile(path, "lfm2", seed)
    out.describe(n_ctx_train, n_embd, len(attention), n_ff, n_head)
    # It is by having no heads that the engine knows the layers with a convolution.
    out.writer.add_head_count_kv([n_head_kv if attends else 0 for attends in attention])
    out.writer.add_shortconv_l_cache(d_conv)
    out.writer.add_layer_norm_rms_eps(1e-5)
    out.writer.add_vocab_size(len(words.tokens))
    words.write(out.writer)
    out.embedding(words, n_embd)
    for layer, attends in enumerate(attention):
        block = f"blk.{layer}"
        out.norm(f"{block}.attn_norm", n_embd)
        if attends:
            _add_attention(out, block, n_embd, head_size * n_head_kv)
            _add_head_norms(out, block, head_size)
        else:
            out.matrix(f"{block}.shortconv.in_proj", 3 * n_embd, n_embd)
            out.matrix(f"{block}.shortconv.conv", n_embd, d_conv)
            out.matrix(f"{block}.shortconv.out_proj", n_embd, n_embd)
        _add_feed_forward(out, block, n_embd, n_ff)
    out.norm("token_embd_norm", n_embd)  # that of the output, in spite of its name
    return out.finish()


def _add_attention(out: TinyFile, block: str, n_embd: int, n_kv: int, gain: float = 1.0) -> None:
    out.matrix(f"{block}.attn_q", n_embd, n_embd, gain)
    out.matrix(f"{block}.attn_k", n_kv, n_embd, gain)
    out.matrix(f"{block}.attn_v", n_kv, n_embd)
    out.matrix(f"{block}.attn_output", n_embd, n_embd)


def _add_head_norms(out: TinyFile, block: str, head_size: int) -> None:
    # After a norm the gain of a matrix is gone: that of the norm has to sharpen.
    for name in ("attn_q_norm", "attn_k_norm"):
        out.norm(f"{block}.{name}", head_size, gain=_SHARP)


def _add_feed_forward(out: TinyFile, block: str, n_embd: int, n_ff: int) -> None:
    out.norm(f"{block}.ffn_norm", n_embd)
    out.matrix(f"{block}.ffn_gate", n_ff, n_embd)
    out.matrix(f"{block}.ffn_up", n_ff, n_embd)
    out.matrix(f"{block}.ffn_down", n_embd, n_ff)
