"""Short names of models and of what else changes their states."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from hashlib import blake2b

from ..engine.adapter_spans import PLAIN, Spans
from ..errors import ModelLoadError
from ..gguf.header import read_layout
from ..handles import Context

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
        paths: The files; a split model's first file stands for all.
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


class Fingerprints:
    """Tells apart the states of a context, by what they were computed with.

    Args:
        context: Of the model.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._by_spans: dict[Spans, bytes] = {}
        self._control_vector = b""

    @property
    def known(self) -> list[Spans]:
        """The adapters that were asked for."""
        return list(self._by_spans)

    @property
    def control_vector(self) -> bytes:
        """The fingerprint of the control vector that counts, empty without one."""
        return self._control_vector

    @control_vector.setter
    def control_vector(self, digest: bytes) -> None:
        self._control_vector = digest
        self._by_spans.clear()

    def of(self, spans: Spans) -> bytes:
        """Hash what a state depends on that was computed with these adapters."""
        if spans not in self._by_spans:
            self._by_spans[spans] = self._make(spans)
        return self._by_spans[spans]

    def _make(self, spans: Spans) -> bytes:
        if spans == PLAIN and not self._control_vector:
            return self._model
        try:
            adapters = [
                (start, [(fingerprint([adapter.path], ()), scale) for adapter, scale in pairs])
                for start, pairs in spans
            ]
        except (OSError, ModelLoadError):
            return os.urandom(16)
        return fingerprint((), [self._model, self._control_vector, adapters])

    @cached_property
    def _model(self) -> bytes:
        model, params = self._context.model, self._context.params
        settings = [getattr(params, name) for name in _SETTINGS]
        overrides = sorted(
            (key, repr(value))
            for key, value in model.hyperparameters.items()
            if model.header.metadata.get(key) != value
        )
        try:
            return fingerprint([model.path], [settings, overrides])
        except (OSError, ModelLoadError):
            return os.urandom(16)  # the file is gone: what cannot be told apart is not shared


def _parts(path: str) -> list[str]:
    count = read_layout(path)[0].split_count
    start, _, end = path.rpartition("-00001-of-")
    return [f"{start}-{part:05}-of-{end}" for part in range(1, count + 1)] if start else [path]
