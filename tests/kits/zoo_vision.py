"""Tiny models that see in their own ways, and what they see with."""

from __future__ import annotations

from pathlib import Path

from zoo_decoders import CHATML_TEMPLATE, _add_attention, _add_feed_forward
from zoo_file import TinyFile
from zoo_media import _add_blocks, _add_linear, _projector
from zoo_vocab import spm_vocab


def write_qwen2vl(path: Path, *, n_embd: int = 256, n_head: int = 4, n_ff: int = 256) -> Path:
    """Qwen2-VL's text model, in which the positions of an image have rows and columns (M-RoPE)."""
    words, head = spm_vocab(), n_embd // n_head
    out = TinyFile(path, "qwen2vl", 0)
    out.describe(512, n_embd, 2, n_ff, n_head)
    out.writer.add_head_count_kv(n_head // 2)
    out.writer.add_rope_dimension_sections([head // 8, 3 * head // 16, 3 * head // 16, 0])
    out.writer.add_layer_norm_rms_eps(1e-5)
    out.writer.add_vocab_size(len(words.tokens))
    words.write(out.writer)
    out.writer.add_chat_template(CHATML_TEMPLATE)
    out.embedding(words, n_embd)
    for block in ("blk.0", "blk.1"):
        out.norm(f"{block}.attn_norm", n_embd)
        _add_attention(out, block, n_embd, n_embd // 2, gain=2.0)
        _add_feed_forward(out, block, n_embd, n_ff)
    out.norm("output_norm", n_embd)
    return out.finish()


def write_qwen2vl_mmproj(path: Path, *, n_embd: int = 256) -> Path:
    """Images keep their shape: a token for every square of 16 by 16 pixels."""
    out = _vision(path, "qwen2vl_merger", image_size=64, patch_size=8, n_embd=n_embd)
    for name in ("v.patch_embd.weight", "v.patch_embd.weight.1"):
        out.add(name, out.normal(_WIDTH, 3, 8, 8, scale=(3 * 8**2) ** -0.5))
    _add_blocks(out, "v", 1, _WIDTH, _N_FF, k_bias=True)
    out.norm("v.post_ln", _WIDTH, bias=True)
    _add_linear(out, "mm.0", 4 * _WIDTH, 4 * _WIDTH)
    _add_linear(out, "mm.2", n_embd, 4 * _WIDTH)
    return out.finish()


def write_gemma3_mmproj(path: Path, *, n_embd: int = 128) -> Path:
    """Gemma 3's: 16 tokens, each of which sees those after it too."""
    out = _vision(path, "gemma3", image_size=128, patch_size=8, n_embd=n_embd)
    out.add("v.patch_embd.weight", out.normal(_WIDTH, 3, 8, 8, scale=(3 * 8**2) ** -0.5))
    out.add("v.patch_embd.bias", out.normal(_WIDTH, scale=0.1))
    out.add("v.position_embd.weight", out.normal(16 * 16, _WIDTH, scale=0.2))
    _add_blocks(out, "v", 1, _WIDTH, _N_FF, k_bias=True)
    out.norm("v.post_ln", _WIDTH, bias=True)
    out.norm("mm.soft_emb_norm", _WIDTH)
    out.add("mm.input_projection.weight", out.normal(_WIDTH, n_embd, scale=_WIDTH**-0.5))
    return out.finish()


_WIDTH, _N_FF = 64, 128


def _vision(path: Path, kind: str, *, image_size: int, patch_size: int, n_embd: int) -> TinyFile:
    out = _projector(path, kind, 0)
    out.writer.add_clip_has_vision_encoder(True)
    out.writer.add_vision_image_size(image_size)
    out.writer.add_vision_patch_size(patch_size)
    out.writer.add_vision_embedding_length(_WIDTH)
    out.writer.add_vision_feed_forward_length(_N_FF)
    out.writer.add_vision_block_count(1)
    out.writer.add_vision_head_count(2)
    out.writer.add_vision_attention_layernorm_eps(1e-5)
    out.writer.add_vision_projection_dim(n_embd)
    out.writer.add_vision_image_mean([0.5, 0.5, 0.5])
    out.writer.add_vision_image_std([0.5, 0.5, 0.5])
    return out
