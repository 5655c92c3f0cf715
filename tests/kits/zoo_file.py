"""A tiny GGUF file in the making: what the writers of every kind of model share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import gguf
import numpy as np
import numpy.typing as npt
from zoo_vocab import Vocab

WeightType = Literal["f32", "f16"]


class TinyFile:
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

    def norm(self, name: str, size: int, *, bias: bool = False, gain: float = 1.0) -> None:
        values = self.normal(size, scale=0.1) + np.float32(1)
        self.add(f"{name}.weight", values * np.float32(gain))
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
