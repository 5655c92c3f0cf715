"""Embeddings of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import llama_cpp as raw
from .engine import Engine
from .errors import BusyError, InvalidArgumentError
from .handles import Batch, Context

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def embed(
    engine: Engine, context: Context, prompts: Sequence[Sequence[int]], *, truncate: bool
) -> list[npt.NDArray[np.float32]]:
    """Return the embedding of each prompt.

    Args:
        engine: Whose context it is.
        context: It gives embeddings.
        prompts: Token ids, each at least one.
        truncate: Whether to cut prompts that are too long, rather than raise.

    Returns:
        For each prompt shape (n_embd,), or (n_tokens, n_embd) where the context does not pool.

    Raises:
        InvalidArgumentError: A prompt is too long.
        BusyError: A completion uses sequence 0.
    """
    import numpy as np

    model = context.model
    limit = longest(engine, context)
    rows: list[npt.NDArray[np.float32]] = []
    with engine.exclusive():
        slot = engine.slots[0]
        if slot.request is not None:
            raise BusyError("a completion is being generated in sequence 0: finish or close it")
        for prompt in prompts:
            if len(prompt) > limit and not truncate:
                raise InvalidArgumentError(
                    f"a text of {len(prompt)} tokens is too long to embed, at most {limit} go: "
                    "create the model with larger n_ctx, n_batch and n_ubatch, or truncate"
                )
            part = list(prompt[:limit])
            if context.has_memory:
                engine.sequences.clear(slot)
            batch = Batch(len(part))
            batch.add_sequence(part, output_all=True)
            if model.has_encoder:
                context.encode(batch)
            else:
                context.decode(batch)
            if context.pooling_type == raw.LLAMA_POOLING_TYPE_NONE:
                rows.append(np.stack([context.embeddings(i) for i in range(len(part))]))
            else:
                rows.append(context.sequence_embedding(0))
        if context.has_memory:
            engine.sequences.clear(slot)
        slot.tokens = []
    return rows


def longest(engine: Engine, context: Context) -> int:
    """How many tokens of a text can be embedded: they are computed in one batch."""
    return min(context.n_batch, context.n_ubatch, engine.n_ctx)


def normalized(rows: npt.NDArray[np.float32], how: bool | int) -> Any:
    """Scale embeddings as llama.cpp's ``--embd-normalize`` does.

    Args:
        rows: The last axis is the embedding's.
        how: True or 2 is Euclidean, False or -1 leaves them, 0 is the maximum absolute scaled to
            32760, any other p > 0 the p-norm.
    """
    import numpy as np

    p = {True: 2, False: -1}.get(how, how) if isinstance(how, bool) else int(how)
    if p < 0:
        return rows
    if p == 0:
        norms = np.abs(rows).max(axis=-1, keepdims=True) / 32760.0
    else:
        norms = (np.abs(rows).astype(np.float64) ** p).sum(axis=-1, keepdims=True) ** (1.0 / p)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
