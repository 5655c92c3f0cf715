"""From the trained weights to a GGUF file: written as float32, quantized by llama.cpp.

Nothing here needs torch, except `verify`.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

__all__ = ["Shape", "export", "load_weights", "main", "verify"]

Weights = Mapping[str, npt.NDArray[np.float32]]

# What `Llama` in model.py calls its weights, and what GGUF does. Those of all blocks are stacked.
_TENSORS = {"embedding": "token_embd", "final_norm": "output_norm"}
_BLOCK_TENSORS = {
    "attention_norm": "attn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "ffn_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


@dataclass(frozen=True)
class Shape:
    """The hyperparameters of the network, in llama.cpp's words.

    Attributes:
        n_vocab: Tokens in the vocabulary.
        n_ctx: Longest sequence, in tokens.
        n_embd: Width of the residual stream.
        n_layer: Blocks.
        n_head: Query heads; `n_embd` is a multiple of it.
        n_head_kv: Key and value heads; `n_head` is a multiple of it.
        n_ff: Width of the feed-forward network.
        rope_base: Base of the rotary positions (Su et al. 2021, RoFormer).
        norm_eps: Added to the mean square in RMSNorm, as in Llama 2.
    """

    n_vocab: int = 2048
    n_ctx: int = 2048
    n_embd: int = 256
    n_layer: int = 8
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 512
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def n_head_dim(self) -> int:
        """Width of one head."""
        return self.n_embd // self.n_head


def main(work: Path, chat_template: str, path: Path, texts: Iterable[str]) -> float:
    """Write the model from what is in `work`; return what `verify` does."""
    weights, tokenizer = load_weights(work / "weights.npz"), work / "tokenizer.model"
    export(weights, Shape(), tokenizer, chat_template, path)
    return verify(path, weights, Shape(), tokenizer, texts)


def load_weights(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Read the weights that training keeps up to date."""
    with np.load(path) as arrays:
        return dict(arrays)


def export(
    weights: Weights,
    shape: Shape,
    tokenizer: Path,
    chat_template: str,
    path: Path,
    quantization: str = "q8_0",
) -> None:
    """Write a GGUF file that llama.cpp runs as it is.

    Args:
        weights: By their names in model.py.
        shape: The hyperparameters they were trained with.
        tokenizer: A SentencePiece `.model`, BPE with byte fallback, that changes no white space.
        chat_template: In Jinja.
        path: The file to write.
        quantization: "f32", or llama.cpp's name of a type: "q8_0", "f16", "q6_k", ...

    Raises:
        RuntimeError: llama.cpp could not quantize; its log says why.
        ValueError: The tokenizer does not fit the shape.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = path if quantization == "f32" else Path(folder) / "f32.gguf"
        _write(weights, shape, tokenizer, chat_template, plain)
        if plain is not path:
            _quantize(plain, path, quantization)


def _write(weights: Weights, shape: Shape, tokenizer: Path, template: str, path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tinychat")
    writer.add_author("The llama-cpp-python authors")
    writer.add_license("MIT")
    writer.add_description("A small chat model that is trained from generated texts")
    writer.add_languages(["en"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(shape.n_vocab)
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_rope_dimension_count(shape.n_head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    _add_tokenizer(writer, tokenizer, shape.n_vocab)
    writer.add_chat_template(template)
    for name, target in _TENSORS.items():
        writer.add_tensor(f"{target}.weight", weights[name])
    for i in range(shape.n_layer):
        for name, target in _BLOCK_TENSORS.items():
            writer.add_tensor(f"blk.{i}.{target}.weight", np.ascontiguousarray(weights[name][i]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, path: Path, n_vocab: int) -> None:
    pieces = _load_tokenizer(path)
    if pieces.GetPieceSize() != n_vocab:
        raise ValueError(f"{path} has {pieces.GetPieceSize()} pieces, the network {n_vocab}")
    ids = range(n_vocab)
    first_byte = pieces.PieceToId("<0x00>")
    writer.add_tokenizer_model("llama")  # its name for SentencePiece
    writer.add_tokenizer_pre("default")
    writer.add_token_list([pieces.IdToPiece(i) for i in ids])
    writer.add_token_scores([pieces.GetScore(i) for i in ids])
    writer.add_token_types([_token_type(pieces, i, first_byte) for i in ids])
    writer.add_bos_token_id(pieces.bos_id())
    writer.add_eos_token_id(pieces.eos_id())
    writer.add_unk_token_id(pieces.unk_id())
    writer.add_eot_token_id(pieces.PieceToId("<|im_end|>"))
    keys = gguf.Keys.Tokenizer
    writer.add_uint32(keys.FIM_PRE_ID, pieces.PieceToId("<|fim_prefix|>"))
    writer.add_uint32(keys.FIM_SUF_ID, pieces.PieceToId("<|fim_suffix|>"))
    writer.add_uint32(keys.FIM_MID_ID, pieces.PieceToId("<|fim_middle|>"))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_remove_extra_whitespaces(False)


def _load_tokenizer(path: Path) -> Any:
    import sentencepiece  # only making the model needs it

    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def _token_type(pieces: Any, token: int, first_byte: int) -> gguf.TokenType:
    if pieces.IsUnknown(token):
        return gguf.TokenType.UNKNOWN
    if pieces.IsControl(token):
        return gguf.TokenType.CONTROL
    if pieces.IsByte(token):
        return gguf.TokenType.BYTE
    # SentencePiece does not tell user-defined pieces from learned ones, but writes the former
    # before the bytes and the latter after them.
    return gguf.TokenType.USER_DEFINED if token < first_byte else gguf.TokenType.NORMAL


def _quantize(source: Path, target: Path, quantization: str) -> None:
    from llama_cpp import llama_cpp as raw

    params = raw.llama_model_quantize_default_params()
    name = quantization.upper()
    params.ftype = getattr(raw, f"LLAMA_FTYPE_MOSTLY_{name}")
    code = raw.llama_model_quantize(bytes(source), bytes(target), ctypes.byref(params))
    if code != 0:
        raise RuntimeError(f"llama.cpp could not quantize {source} to {name}: code {code}")


def verify(
    path: Path, weights: Weights, shape: Shape, tokenizer: Path, texts: Iterable[str]
) -> float:
    """Compare a model file with what it was made from.

    Args:
        path: The file that `export` wrote.
        weights: What it was written from.
        shape: Their hyperparameters.
        tokenizer: The SentencePiece model it was written from.
        texts: Any; the names of control tokens in them are read as text.

    Returns:
        The root mean square difference of the logits from torch's on random tokens, in standard
        deviations of these. Measured once: 2e-5 for "f32", 3e-3 for "f16", 5e-2 for "q8_0".

    Raises:
        ValueError: SentencePiece and llama.cpp split a text into different tokens.
    """
    from llama_cpp import llama_cpp as raw
    from llama_cpp.handles import Batch, Context, Model

    pieces = _load_tokenizer(tokenizer)
    with Model(path) as model:
        for text in texts:
            ours = model.vocab.tokenize(text, add_special=False)
            if ours != pieces.Encode(text):
                raise ValueError(f"llama.cpp reads {text!r} as {ours}, not {pieces.Encode(text)}")
        tokens = np.random.default_rng(0).integers(shape.n_vocab, size=min(512, shape.n_ctx))
        params = Context.default_params()
        params.n_ctx = params.n_batch = len(tokens)
        params.type_k = params.type_v = raw.GGML_TYPE_F32
        params.flash_attn_type = raw.LLAMA_FLASH_ATTN_TYPE_DISABLED
        context = Context(model, params)
        batch = Batch(len(tokens))
        batch.add_sequence([int(token) for token in tokens], output_all=True)
        context.decode(batch)
        logits = np.stack([context.logits(i) for i in range(len(tokens))])
    expected = _torch_logits(weights, shape, tokens)
    difference = logits - expected
    return float(np.sqrt(np.square(difference).mean()) / expected.std())


def _torch_logits(
    weights: Weights, shape: Shape, tokens: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    import torch

    from tools.tinychat.model import Llama

    model = Llama(shape)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    with torch.no_grad():
        logits: npt.NDArray[np.float32] = model(torch.from_numpy(tokens)[None])[0].numpy()
    return logits
