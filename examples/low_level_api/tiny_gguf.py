"""A tiny GGUF with random weights, for examples that should run without a download."""

from __future__ import annotations

import atexit
import shutil
import struct
import tempfile
from array import array
from pathlib import Path
from random import Random
from typing import Any

WORDS = "the a and of to in is it that was for on with as at by this be or have they you we".split()
CHARACTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?"
N_EMBD, N_HEAD, N_LAYER, N_FF = 64, 4, 2, 128

# Value types of the GGUF format: ggml/include/gguf.h of llama.cpp.
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
GGML_TYPE_F32 = 0
ALIGNMENT = 32
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def model_from_arguments(arguments: list[str]) -> tuple[str, str]:
    """Return the model path and the prompt of a command line, or those of the tiny model."""
    path = arguments[0] if arguments else str(write_tiny_gguf())
    return path, arguments[1] if len(arguments) > 1 else "Once upon a time"


def write_tiny_gguf(seed: int = 42) -> Path:
    """Write a llama of two layers with a vocabulary of words and bytes; return its path."""
    random = Random(seed)
    tokens, scores, types = vocabulary()
    metadata: dict[str, tuple[int, Any]] = {
        "general.architecture": (STRING, "llama"),
        "llama.context_length": (UINT32, 256),
        "llama.embedding_length": (UINT32, N_EMBD),
        "llama.block_count": (UINT32, N_LAYER),
        "llama.feed_forward_length": (UINT32, N_FF),
        "llama.attention.head_count": (UINT32, N_HEAD),
        "llama.attention.layer_norm_rms_epsilon": (FLOAT32, 1e-5),
        "tokenizer.ggml.model": (STRING, "llama"),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
        "tokenizer.ggml.scores": (ARRAY, (FLOAT32, scores)),
        "tokenizer.ggml.token_type": (ARRAY, (INT32, types)),
        "tokenizer.ggml.bos_token_id": (UINT32, 1),
        "tokenizer.ggml.eos_token_id": (UINT32, 2),
    }
    tensors = {name: weights(shape, random) for name, shape in shapes(len(tokens)).items()}
    # Rows of zeros keep everything but words from being chosen, so that the output can be read.
    row_bytes = 4 * N_EMBD
    unwanted = len(tokens) - len(WORDS)
    output = tensors["output.weight"]
    tensors["output.weight"] = bytes(unwanted * row_bytes) + output[unwanted * row_bytes :]
    folder = tempfile.mkdtemp(prefix="tiny-gguf-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "tiny.gguf"
    path.write_bytes(gguf(metadata, shapes(len(tokens)), tensors))
    return path


def vocabulary() -> tuple[list[str], list[float], list[int]]:
    """Return tokens, scores and types: control tokens, the 256 bytes, characters and words."""
    texts = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    texts += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    texts += [(character, NORMAL) for character in CHARACTERS]
    texts += [(f"▁{word}", NORMAL) for word in WORDS]
    scores = [-float(index) for index in range(len(texts))]
    return [text for text, _ in texts], scores, [kind for _, kind in texts]


def shapes(n_vocab: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of the architecture, innermost dimension first."""
    result: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (N_EMBD, n_vocab),
        "output_norm.weight": (N_EMBD,),
        "output.weight": (N_EMBD, n_vocab),
    }
    for layer in range(N_LAYER):
        block = {
            "attn_norm": (N_EMBD,), "ffn_norm": (N_EMBD,),
            "attn_q": (N_EMBD, N_EMBD), "attn_k": (N_EMBD, N_EMBD), "attn_v": (N_EMBD, N_EMBD),
            "attn_output": (N_EMBD, N_EMBD),
            "ffn_gate": (N_EMBD, N_FF), "ffn_up": (N_EMBD, N_FF), "ffn_down": (N_FF, N_EMBD),
        }  # fmt: skip
        result |= {f"blk.{layer}.{name}.weight": shape for name, shape in block.items()}
    return result


def weights(shape: tuple[int, ...], random: Random) -> bytes:
    """Return float32 weights: ones for a norm, small random numbers for a matrix."""
    if len(shape) == 1:
        return array("f", [1.0] * shape[0]).tobytes()
    scale = shape[0] ** -0.5
    return array("f", (random.gauss(0, scale) for _ in range(shape[0] * shape[1]))).tobytes()


def gguf(
    metadata: dict[str, tuple[int, Any]],
    tensor_shapes: dict[str, tuple[int, ...]],
    tensors: dict[str, bytes],
) -> bytes:
    """Return the bytes of a GGUF file, version 3."""
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, (kind, value) in metadata.items():
        header += packed(STRING, key) + struct.pack("<I", kind) + packed(kind, value)
    data = b""
    for name, shape in tensor_shapes.items():
        header += packed(STRING, name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        header += struct.pack("<IQ", GGML_TYPE_F32, len(data))
        data += padded(tensors[name])
    return padded(header) + data


def packed(kind: int, value: Any) -> bytes:
    """Return a metadata value as GGUF stores it."""
    if kind == STRING:
        encoded = value.encode()
        return struct.pack("<Q", len(encoded)) + bytes(encoded)
    if kind == ARRAY:
        item_kind, items = value
        values = b"".join(packed(item_kind, item) for item in items)
        return struct.pack("<IQ", item_kind, len(items)) + values
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}[kind], value)


def padded(data: bytes) -> bytes:
    """Return the bytes, filled up to the alignment of tensors."""
    return data + bytes(-len(data) % ALIGNMENT)
