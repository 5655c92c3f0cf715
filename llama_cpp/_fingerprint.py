"""Short names of models and of what else changes their states."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import blake2b

from .errors import ModelLoadError
from .handles import Context
from .handles.gguf_header import read_layout

_SAMPLES = 64
_SAMPLE_BYTES = 4096

_SETTINGS = (
    "rope_scaling_type", "rope_freq_base", "rope_freq_scale", "yarn_ext_factor",
    "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "yarn_orig_ctx", "attention_type",
    "flash_attn_type", "type_k", "type_v", "swa_full",
)  # fmt: skip


def fingerprint(paths: Iterable[str], others: Iterable[object]) -> bytes:
    """Hash the headers of model files, some of their weights, and what else there is.

    All of the weights would take as long to read as loading them; samples from all over a file
    differ too when somebody has trained on.

    Args:
        paths: The files of the model and of its adapters; a split model's first file stands for
            all.
        others: What else changes states.

    Raises:
        OSError: A file is not there any more.
        ModelLoadError: It is another one by now, and damaged.
    """
    digest = blake2b(digest_size=16)
    for first in paths:
        for path in _parts(first):
            _, layout = read_layout(path)
            step = (layout.size - layout.data_start) // _SAMPLES
            digest.update(b"%d %d " % (layout.size, layout.data_start))
            with open(path, "rb") as file:
                digest.update(file.read(layout.data_start))
                for sample in range(_SAMPLES):
                    file.seek(layout.data_start + step * sample)
                    digest.update(file.read(min(step, _SAMPLE_BYTES)))
    digest.update(repr(tuple(others)).encode())
    return digest.digest()


def fingerprint_of(context: Context, lora_path: str | None, lora_scale: float) -> bytes:
    """Hash what the states of a context depend on.

    Args:
        context: Of the model.
        lora_path: The adapter that it was made with.
        lora_scale: How much of that.
    """
    model, params = context.model, context.params
    settings = [getattr(params, name) for name in _SETTINGS]
    overrides = sorted(
        (key, repr(value))
        for key, value in model.hyperparameters.items()
        if model.header.metadata.get(key) != value
    )
    paths = [model.path] if lora_path is None else [model.path, lora_path]
    try:
        return fingerprint(paths, [settings, lora_scale if lora_path else 1.0, overrides])
    except (OSError, ModelLoadError):
        return os.urandom(16)  # the file is gone: what cannot be told apart is not shared


def _parts(path: str) -> list[str]:
    count = read_layout(path)[0].split_count
    start, _, end = path.rpartition("-00001-of-")
    return [f"{start}-{part:05}-of-{end}" for part in range(1, count + 1)] if start else [path]
