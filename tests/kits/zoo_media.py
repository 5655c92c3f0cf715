"""Tiny multimodal projectors (mmproj files) for the text model of ``write_llama``.

The weights are random, as everywhere in the zoo, and scaled so that what an image shows, or how a
tone sounds, changes what the text model says next. Both are of kinds that put no special tokens
around their media, so that any vocabulary will do.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from zoo_file import TinyFile

FRAMES_PER_WINDOW = 1500
"""What Whisper's encoder makes of each started window of 30 seconds."""


def write_image_mmproj(
    path: Path,
    *,
    seed: int = 0,
    n_embd: int = 256,
    image_size: int = 32,
    patch_size: int = 8,
    width: int = 64,
    n_head: int = 2,
    n_layer: int = 2,
    n_ff: int = 128,
) -> Path:
    """LLaVA's: a vision tower and a perceptron.

    Args:
        path: Where to write it.
        seed: Of the weights.
        n_embd: The width of the text model.
        image_size: The side of the square that every image is brought to.
        patch_size: The side of a patch, which becomes a token; a divisor of ``image_size``.
        width: Of the vision tower.
        n_head: Its attention heads.
        n_layer: Its blocks. LLaVA takes what the last but one gives, and never runs the last.
        n_ff: The width inside a block.
    """
    n_patches = (image_size // patch_size) ** 2
    out = _projector(path, "mlp", seed)
    out.writer.add_clip_has_vision_encoder(True)
    out.writer.add_vision_image_size(image_size)
    out.writer.add_vision_patch_size(patch_size)
    out.writer.add_vision_embedding_length(width)
    out.writer.add_vision_feed_forward_length(n_ff)
    out.writer.add_vision_block_count(n_layer)
    out.writer.add_vision_head_count(n_head)
    out.writer.add_vision_attention_layernorm_eps(1e-5)
    out.writer.add_vision_projection_dim(n_embd)
    out.writer.add_vision_image_mean([0.5, 0.5, 0.5])
    out.writer.add_vision_image_std([0.5, 0.5, 0.5])
    kernel = out.normal(width, 3, patch_size, patch_size, scale=(3 * patch_size**2) ** -0.5)
    out.add("v.patch_embd.weight", kernel)
    out.add("v.position_embd.weight", out.normal(n_patches, width, scale=0.2))
    _add_blocks(out, "v", n_layer, width, n_ff, k_bias=True)
    out.norm("v.post_ln", width, bias=True)
    _add_linear(out, "mm.0", n_embd, width)
    _add_linear(out, "mm.2", n_embd, n_embd)
    return out.finish()


def write_audio_mmproj(
    path: Path,
    *,
    seed: int = 0,
    n_embd: int = 256,
    n_mel: int = 80,
    stack: int = 60,
    width: int = 32,
    n_head: int = 2,
    n_layer: int = 1,
    n_ff: int = 64,
    hidden: int = 32,
) -> Path:
    """Ultravox's: Whisper's encoder, and ``1500 / stack`` tokens per started 30 seconds.

    Args:
        path: Where to write it.
        seed: Of the weights.
        n_embd: The width of the text model.
        n_mel: Bands of the spectrogram, 1 to 256.
        stack: How many frames of 20 ms become one token; a divisor of 1500.
        width: Of the encoder.
        n_head: Its attention heads.
        n_layer: Its blocks.
        n_ff: The width inside a block.
        hidden: The width inside the projector.
    """
    if FRAMES_PER_WINDOW % stack:
        raise ValueError("stack must divide 1500: the engine would miscount the tokens and abort")
    out = _projector(path, "ultravox", seed)
    out.writer.add_clip_has_audio_encoder(True)
    out.writer.add_audio_num_mel_bins(n_mel)
    out.writer.add_audio_stack_factor(stack)
    out.writer.add_audio_embedding_length(width)
    out.writer.add_audio_feed_forward_length(n_ff)
    out.writer.add_audio_block_count(n_layer)
    out.writer.add_audio_head_count(n_head)
    out.writer.add_audio_attention_layernorm_eps(1e-5)
    out.writer.add_audio_projection_dim(n_embd)
    for layer, n_in in ((1, n_mel), (2, width)):
        kernel = out.normal(width, n_in, 3, scale=(3 * n_in) ** -0.5)
        # Upstream's converter keeps these in half precision, which the convolution computes in.
        out.writer.add_tensor(f"a.conv1d.{layer}.weight", kernel.astype(np.float16))
        out.add(f"a.conv1d.{layer}.bias", out.normal(width, 1, scale=0.1))
    out.add("a.position_embd.weight", out.normal(FRAMES_PER_WINDOW, width, scale=0.2))
    _add_blocks(out, "a", n_layer, width, n_ff, k_bias=False)
    out.norm("a.post_ln", width, bias=True)
    out.norm("mm.a.norm_pre", stack * width)
    out.matrix("mm.a.mlp.1", 2 * hidden, stack * width)  # one half is the other's gate
    out.norm("mm.a.norm_mid", hidden)
    out.matrix("mm.a.mlp.2", n_embd, hidden)
    return out.finish()


def _projector(path: Path, kind: str, seed: int) -> TinyFile:
    out = TinyFile(path, "clip", seed)
    out.writer.add_type("mmproj")
    out.writer.add_name(f"tiny {kind}")
    out.writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.writer.add_clip_projector_type(kind)
    return out


def _add_blocks(
    out: TinyFile, prefix: str, n_layer: int, width: int, n_ff: int, *, k_bias: bool
) -> None:
    for block in (f"{prefix}.blk.{layer}" for layer in range(n_layer)):
        out.norm(f"{block}.ln1", width, bias=True)
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            _add_linear(out, f"{block}.{name}", width, width, bias=name != "attn_k" or k_bias)
        out.norm(f"{block}.ln2", width, bias=True)
        _add_linear(out, f"{block}.ffn_up", n_ff, width)
        _add_linear(out, f"{block}.ffn_down", width, n_ff)


def _add_linear(out: TinyFile, name: str, n_out: int, n_in: int, *, bias: bool = True) -> None:
    out.matrix(name, n_out, n_in)
    if bias:
        out.add(f"{name}.bias", out.normal(n_out, scale=0.1))
