"""Short forms of what nearly every test of the handles does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llama_cpp.handles.batch import Batch
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model

TOKENS = tuple(range(400, 410))
"""Some words of the vocabulary of ``write_llama``; the other tiny models have these ids too."""


def open_context(model: Model, **params: Any) -> Context:
    """A small context with one thread, so that its results are the same each time."""
    all_params = Context.default_params()
    all_params.n_ctx = 256
    all_params.n_threads = all_params.n_threads_batch = 1
    for name, value in params.items():
        getattr(all_params, name)  # a ctypes struct takes any name
        setattr(all_params, name, value)
    return Context(model, all_params)


def batch_of(
    tokens: Sequence[int] = TOKENS, pos: int = 0, seq_id: int = 0, *, output_all: bool = False
) -> Batch:
    batch = Batch(max(len(tokens), 1))
    batch.add_sequence(tokens, pos, seq_id, output_all=output_all)
    return batch


def decode(
    context: Context, tokens: Sequence[int] = TOKENS, pos: int = 0, seq_id: int = 0
) -> npt.NDArray[np.float32]:
    """Decode consecutive tokens and return the logits after the last one."""
    context.decode(batch_of(tokens, pos, seq_id))
    return context.logits()
