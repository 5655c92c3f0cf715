"""Embeddings of texts, many in one batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError
from ..handles import Batch, Context, LoraAdapter, Model
from ..handles.threadpool import Threadpool
from ..validation.numbers import plain

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

N_SEQUENCES = 64
"""Texts in one batch at most. Each takes room of its own in a recurrent memory: fewer there."""
_N_RECURRENT = 8


class Embedder:
    """A context for embeddings on the weights of a model that may be generating meanwhile.

    Args:
        model: The model.
        params: Those of the model's other context, if it has one.
        adapters: LoRA adapters with their scales.
        poll: How eagerly worker threads look for work.

    Raises:
        ContextError: The parameters contradict each other or the model.
        OutOfMemoryError: There is no memory for it.
    """

    def __init__(
        self,
        model: Model,
        params: raw.llama_context_params,
        adapters: Sequence[tuple[LoraAdapter, float]],
        poll: int,
    ) -> None:
        self._lock = threading.Lock()
        per_text = params.n_ctx // max(1, params.n_seq_max)
        self.limit = min(params.n_batch, per_text)
        """How many tokens of a text can be embedded: they are computed in one batch."""
        n_sequences = _N_RECURRENT if model.is_recurrent or model.is_hybrid else N_SEQUENCES
        own = type(params).from_buffer_copy(params)
        # Pooling sees the tokens of one graph, and of a mean it needs an equal part for each text.
        budget = -(-max(self.limit, n_sequences) // n_sequences) * n_sequences
        own.n_ctx = own.n_batch = own.n_ubatch = budget
        own.n_seq_max, own.n_outputs_max, own.n_rs_seq = n_sequences, 0, 0
        own.kv_unified = own.embeddings = True
        self._context = Context(model, own)
        self._context.attach_threadpools(*_pools(own.n_threads, own.n_threads_batch, poll))
        if adapters:
            self._context.set_adapters(adapters)
        self._budget, self._n_sequences = budget, n_sequences
        self._batch = Batch(budget)

    @property
    def pooling_type(self) -> int:
        """``LLAMA_POOLING_TYPE_*``."""
        return self._context.pooling_type

    def close(self) -> None:
        """Free the context."""
        self._context.close()

    def embed(self, prompts: Sequence[Sequence[int]]) -> list[npt.NDArray[np.float32]]:
        """Return the embedding of each prompt.

        Args:
            prompts: Token ids, each at least one and at most ``limit``.

        Returns:
            For each prompt float32 of shape (n_embd,), (n_cls_out,) with rank pooling, or
            (n_tokens, n_embd) where the context does not pool.
        """
        rows: dict[int, npt.NDArray[np.float32]] = {}
        lengths = [len(prompt) for prompt in prompts]
        with self._lock:
            for numbers in packed(lengths, self._budget, self._n_sequences):
                self._decode([prompts[number] for number in numbers])
                start = 0
                for sequence, number in enumerate(numbers):
                    rows[number] = self._row(sequence, start, lengths[number])
                    start += lengths[number]
        return [rows[number] for number in range(len(prompts))]

    def _decode(self, prompts: Sequence[Sequence[int]]) -> None:
        context = self._context
        tokens: list[int] = []
        positions: list[int] = []
        sequences: list[int] = []
        for sequence, prompt in enumerate(prompts):
            tokens += prompt
            positions += range(len(prompt))
            sequences += [sequence] * len(prompt)
        self._batch.fill(tokens, positions, sequences, [True] * len(tokens))
        if context.model.has_encoder:
            context.encode(self._batch)
            return
        if context.has_memory:
            context.memory.clear()
        context.decode(self._batch)

    def _row(self, sequence: int, start: int, count: int) -> npt.NDArray[np.float32]:
        import numpy as np

        context = self._context
        if context.pooling_type != raw.LLAMA_POOLING_TYPE_NONE:
            return context.sequence_embedding(sequence)
        return np.stack([context.embeddings(index) for index in range(start, start + count)])


def packed(lengths: Sequence[int], budget: int, n_sequences: int) -> Iterator[list[int]]:
    """Put texts into batches, those of like length together.

    Args:
        lengths: How many tokens each has, none more than ``budget``.
        budget: Tokens in one batch.
        n_sequences: Texts in one batch.

    Yields:
        The numbers of the texts of a batch.
    """
    batch: list[int] = []
    room = budget
    for number in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and (lengths[number] > room or len(batch) == n_sequences):
            yield batch
            batch, room = [], budget
        batch.append(number)
        room -= lengths[number]
    if batch:
        yield batch


def normalized(rows: npt.NDArray[np.float32], how: bool | int) -> npt.NDArray[np.float32]:
    """Scale embeddings as llama.cpp's ``--embd-normalize`` does.

    Args:
        rows: The last axis is the embedding's.
        how: True or 2 is Euclidean, False or -1 leaves them, 0 is the maximum absolute scaled to
            32760, any other p > 0 the p-norm.

    Raises:
        InvalidArgumentError: ``how`` is something else.
    """
    import numpy as np

    own = plain(how)
    if not isinstance(own, int):
        raise InvalidArgumentError(f"normalize={how!r} must be True, False or an integer")
    p = {True: 2, False: -1}[own] if isinstance(own, bool) else own
    if p < 0:
        return rows
    if p == 0:
        norms = np.abs(rows).max(axis=-1, keepdims=True) / 32760.0
    else:
        norms = (np.abs(rows).astype(np.float64) ** p).sum(axis=-1, keepdims=True) ** (1.0 / p)
    scaled: npt.NDArray[np.float32] = (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
    return scaled


def _pools(n_threads: int, n_threads_batch: int, poll: int) -> tuple[Threadpool, Threadpool]:
    pools = [Threadpool(count, poll) for count in dict.fromkeys((n_threads, n_threads_batch))]
    return pools[0], pools[-1]
