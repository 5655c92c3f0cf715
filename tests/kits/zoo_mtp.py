"""Tiny decoders with a head for multi-token prediction (MTP)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from zoo_file import TinyFile
from zoo_vocab import Vocab, spm_vocab


def write_glm4moe(
    path: Path,
    *,
    seed: int = 0,
    habit: float = 1.0,
    knows: float = 1.0,
    by_state: bool = False,
    n_heads: int = 1,
    promised: int = 0,
    sections: bool = False,
    n_embd: int = 64,
    n_head: int = 2,
    n_ff: int = 64,
    n_ctx_train: int = 512,
) -> Path:
    """GLM-4.5: two layers with attention, a KV cache, and a head for multi-token prediction.

    Args:
        path: The file to write.
        seed: That of the weights.
        habit: How much the last token alone says of the next one; with 0 it is like the other
            tiny models.
        knows: For which share of tokens the head guesses what the last token says.
        by_state: Whether it goes by the state before the token and not by the token, which it can
            once: its own states say nothing new.
        n_heads: So many of them; a file with none has no sign of any.
        promised: As how many the file counts of its layers in place of that.
        sections: Whether positions have several parts, as those of images have.
        n_embd: The width of the hidden state.
        n_head: Attention heads.
        n_ff: The width of the feed-forward layers.
        n_ctx_train: The context length to promise.
    """
    words = spm_vocab()
    out = TinyFile(path, "glm4moe", seed)
    out.describe(n_ctx_train, n_embd, 2 + (n_heads or promised), n_ff, n_head)
    out.writer.add_head_count_kv(n_head)
    out.writer.add_rope_dimension_count(n_embd // n_head)
    out.writer.add_layer_norm_rms_eps(1e-5)
    if sections:
        out.writer.add_rope_dimension_sections([4, 2, 2, 0])
    out.writer.add_expert_count(2)
    out.writer.add_expert_used_count(1)
    out.writer.add_expert_shared_count(1)
    out.writer.add_expert_feed_forward_length(n_ff)
    out.writer.add_leading_dense_block_count(1)
    out.writer.add_vocab_size(len(words.tokens))
    words.write(out.writer)
    successors = _add_tokens(out, words, n_embd, habit)
    for layer in range(2 + n_heads):
        block = f"blk.{layer}"
        out.norm(f"{block}.attn_norm", n_embd)
        for name in ("attn_q", "attn_k", "attn_v"):
            out.matrix(f"{block}.{name}", n_embd, n_embd)
        out.norm(f"{block}.post_attention_norm", n_embd)
        out.matrix(f"{block}.attn_output", n_embd, n_embd)
        if layer == 0:
            _add_feed_forward(out, block, n_embd, n_ff)
            continue
        out.add(f"{block}.exp_probs_b.bias", out.normal(2, scale=0.1))
        _add_experts(out, block, n_embd, n_ff, n_expert=2)
    for layer in range(2, 2 + n_heads):
        _add_head(out, f"blk.{layer}", successors, knows, by_state=by_state)
    if n_heads or promised:
        out.writer.add_nextn_predict_layers(n_heads or promised)
    return out.finish()


def write_qwen35(
    path: Path,
    *,
    seed: int = 0,
    habit: float = 1.0,
    knows: float = 1.0,
    n_expert: int = 0,
    n_embd: int = 64,
    n_head: int = 2,
    n_ff: int = 64,
    n_ctx_train: int = 512,
    d_conv: int = 4,
    d_state: int = 32,
) -> Path:
    """Qwen 3.5, a hybrid: a layer with a recurrent state, one with attention, and a head.

    Args:
        path: The file to write.
        seed: That of the weights.
        habit: See ``write_glm4moe``.
        knows: See ``write_glm4moe``.
        n_expert: So many in each layer.
        n_embd: The width of the hidden state.
        n_head: Attention heads, and heads of the recurrent state.
        n_ff: The width of the feed-forward layers.
        n_ctx_train: The context length to promise.
        d_conv: How many tokens a convolution sees.
        d_state: The width of a head of the recurrent state.
    """
    words, head_size, inner = spm_vocab(), n_embd // n_head, n_head * d_state
    out = TinyFile(path, "qwen35moe" if n_expert else "qwen35", seed)
    out.describe(n_ctx_train, n_embd, 3, n_ff, n_head)
    out.writer.add_head_count_kv(n_head)
    out.writer.add_rope_dimension_count(head_size)
    out.writer.add_rope_dimension_sections([head_size // 4, head_size // 8, head_size // 8, 0])
    out.writer.add_layer_norm_rms_eps(1e-5)
    out.writer.add_full_attention_interval(2)
    if n_expert:
        out.writer.add_expert_count(n_expert)
        out.writer.add_expert_used_count(1)
        out.writer.add_expert_feed_forward_length(n_ff)
        out.writer.add_expert_shared_feed_forward_length(n_ff)
    out.writer.add_ssm_conv_kernel(d_conv)
    out.writer.add_ssm_inner_size(inner)
    out.writer.add_ssm_state_size(d_state)
    out.writer.add_ssm_time_step_rank(n_head)
    out.writer.add_ssm_group_count(n_head)
    out.writer.add_vocab_size(len(words.tokens))
    words.write(out.writer)
    successors = _add_tokens(out, words, n_embd, habit)
    for layer in range(3):
        block = f"blk.{layer}"
        out.norm(f"{block}.attn_norm", n_embd)
        out.norm(f"{block}.post_attention_norm", n_embd)
        if layer == 0:
            out.matrix(f"{block}.attn_qkv", 3 * inner, n_embd)
            out.matrix(f"{block}.attn_gate", inner, n_embd)
            out.matrix(f"{block}.ssm_conv1d", 3 * inner, d_conv)
            out.add(f"{block}.ssm_dt.bias", np.full(n_head, -2.25, np.float32))
            out.add(f"{block}.ssm_a", np.full(n_head, -1.0, np.float32))
            out.matrix(f"{block}.ssm_beta", n_head, n_embd)
            out.matrix(f"{block}.ssm_alpha", n_head, n_embd)
            out.norm(f"{block}.ssm_norm", d_state)
            out.matrix(f"{block}.ssm_out", n_embd, inner)
        else:
            out.matrix(f"{block}.attn_q", 2 * n_embd, n_embd)
            out.matrix(f"{block}.attn_k", n_embd, n_embd)
            out.matrix(f"{block}.attn_v", n_embd, n_embd)
            out.matrix(f"{block}.attn_output", n_embd, n_embd)
            out.norm(f"{block}.attn_q_norm", head_size)
            out.norm(f"{block}.attn_k_norm", head_size)
        if n_expert:
            out.add(f"{block}.ffn_gate_inp_shexp.weight", out.normal(n_embd))
            _add_experts(out, block, n_embd, n_ff, n_expert)
        else:
            _add_feed_forward(out, block, n_embd, n_ff)
    _add_head(out, "blk.2", successors, knows)
    out.writer.add_nextn_predict_layers(1)
    return out.finish()


def _add_tokens(out: TinyFile, words: Vocab, n_embd: int, habit: float) -> npt.NDArray[np.float32]:
    """Add embeddings and the output; return the output that goes by the last token alone.

    Rows of the embeddings are larger than what the layers add, so that the state after the last
    layer still tells the token, and the output has the row of a token at its successor.
    """
    wordless = words.wordless_ids()
    ordinary = np.setdiff1d(np.arange(len(words.tokens)), wordless)
    rows = out.normal(len(words.tokens), n_embd)
    successors = out.normal(len(words.tokens), n_embd, scale=0.01)
    successors[np.roll(ordinary, 1)] = rows[ordinary]
    output = out.normal(len(words.tokens), n_embd, scale=n_embd**-0.5) + habit * successors
    output[wordless] *= np.float32(0.25)
    out.add("token_embd.weight", rows * np.float32(4 * habit or n_embd**-0.5))
    out.add("output.weight", output)
    out.norm("output_norm", n_embd)
    return successors


def _add_head(
    out: TinyFile,
    block: str,
    successors: npt.NDArray[np.float32],
    knows: float,
    *,
    by_state: bool = False,
) -> None:
    # What the layer adds is little beside the token's embedding, or the state before it.
    n_vocab, n_embd = successors.shape
    weights = np.zeros((n_embd, 2 * n_embd), np.float32)
    weights[:, n_embd * by_state :][:, :n_embd] = 30 * np.eye(n_embd)
    out.add(f"{block}.nextn.eh_proj.weight", weights)
    out.norm(f"{block}.nextn.enorm", n_embd)
    out.norm(f"{block}.nextn.hnorm", n_embd)
    out.norm(f"{block}.nextn.shared_head_norm", n_embd)
    if by_state:  # which says the token already: what comes next is the one after
        successors = np.roll(successors, -1, axis=0)
    wrong = np.arange(n_vocab) >= knows * n_vocab
    head = successors.copy()
    head[wrong] = np.roll(successors[wrong], 1, axis=0)
    out.add(f"{block}.nextn.shared_head_head.weight", head)


def _add_experts(out: TinyFile, block: str, n_embd: int, n_ff: int, n_expert: int) -> None:
    out.matrix(f"{block}.ffn_gate_inp", n_expert, n_embd)
    for name, shape in (
        ("ffn_gate", (n_ff, n_embd)), ("ffn_up", (n_ff, n_embd)), ("ffn_down", (n_embd, n_ff)),
    ):  # fmt: skip
        out.add(f"{block}.{name}_exps.weight", out.normal(n_expert, *shape, scale=n_ff**-0.5))
    _add_feed_forward(out, block, n_embd, n_ff, kind="_shexp")


def _add_feed_forward(out: TinyFile, block: str, n_embd: int, n_ff: int, kind: str = "") -> None:
    out.matrix(f"{block}.ffn_gate{kind}", n_ff, n_embd)
    out.matrix(f"{block}.ffn_up{kind}", n_ff, n_embd)
    out.matrix(f"{block}.ffn_down{kind}", n_embd, n_ff)
