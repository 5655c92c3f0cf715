"""Embeddings of texts, many in one batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import llama_cpp as raw
from ..errors import ContextWindowError, InvalidArgumentError
from ..handles import Batch, Context, LoraAdapter, Model
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
        self._params, self._adapters, self._poll = params, adapters, poll
        n_sequences = _N_RECURRENT if model.is_recurrent or model.is_hybrid else N_SEQUENCES
        per_text = params.n_ctx // max(1, params.n_seq_max)
        at_once = min(params.n_batch, per_text)
        # Pooling sees the tokens of one graph, and of a mean it needs an equal part for each text.
        self._budget = -(-max(at_once, n_sequences) // n_sequences) * n_sequences
        self._n_sequences = n_sequences
        self._context = self._open(model, self._budget)
        self._batch = Batch(self._budget)
        self._reads_in_parts = _looks_back_only(self._context)
        self._learned = model.header.learned_positions
        per_text = per_text if self._reads_in_parts else at_once
        self.limit = per_text if self._learned is None else min(per_text, self._learned)
        """How many tokens of a text can be embedded."""

    def _open(self, model: Model, n_ctx: int) -> Context:
        own = type(self._params).from_buffer_copy(self._params)
        own.n_ctx, own.n_batch, own.n_ubatch = n_ctx, self._budget, self._budget
        own.n_seq_max, own.n_outputs_max, own.n_rs_seq = self._n_sequences, 0, 0
        own.kv_unified = own.embeddings = True
        context = Context(model, own, poll=self._poll)
        if self._adapters:
            context.set_adapters(self._adapters)
        return context

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
            # No room is taken before it is needed.
            if max(lengths, default=0) > self._context.n_ctx:
                grown = self._open(self._context.model, self.limit)
                self._context.close()
                self._context = grown
            for numbers in packed(lengths, self._budget, self._n_sequences):
                if lengths[numbers[0]] > self._budget:
                    rows[numbers[0]] = self._in_parts(prompts[numbers[0]])
                    continue
                self._decode([prompts[number] for number in numbers])
                start = 0
                for sequence, number in enumerate(numbers):
                    rows[number] = self._row(sequence, start, lengths[number])
                    start += lengths[number]
        return [rows[number] for number in range(len(prompts))]

    def too_long(self, count: int) -> ContextWindowError:
        """What to raise of a text of so many tokens, more than ``limit``."""
        if self._learned is not None and count > self._learned:
            way_out = f"the model has learned {self._learned} positions: shorten the text"
        elif self._reads_in_parts:
            way_out = f"create the model with n_ctx={count} or more"
        else:
            way_out = (
                "this model reads a text at once, in one micro-batch: create it with n_ctx, "
                f"n_batch and n_ubatch of {count} or more"
            )
        return ContextWindowError(
            f"a text of {count} tokens is too long to embed, at most {self.limit} go: {way_out}, "
            "or cut it with truncate=True",
            n_tokens=count, n_ctx=self.limit,
        )  # fmt: skip

    def _in_parts(self, prompt: Sequence[int]) -> npt.NDArray[np.float32]:
        """Embed a text that is longer than a micro-batch: the engine pools each by itself."""
        import numpy as np

        context = self._context
        context.memory.clear()
        rows: list[npt.NDArray[np.float32]] = []
        lengths: list[int] = []
        for start in range(0, len(prompt), self._budget):
            part = prompt[start : start + self._budget]
            count = len(part)
            self._batch.fill(part, range(start, start + count), [0] * count, [True] * count)
            context.decode(self._batch)
            rows.append(self._row(0, 0, count))
            lengths.append(count)
        if context.pooling_type == raw.LLAMA_POOLING_TYPE_NONE:
            return np.concatenate(rows)
        if context.pooling_type == raw.LLAMA_POOLING_TYPE_MEAN:
            return np.average(rows, axis=0, weights=lengths).astype(np.float32)
        return rows[0 if context.pooling_type == raw.LLAMA_POOLING_TYPE_CLS else -1]

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


def _looks_back_only(context: Context) -> bool:
    """Whether the computation of a token needs none after it, so that a text may come in parts."""
    if context.model.has_encoder or not context.has_memory:
        return False
    return bool(context.call(raw.llama_get_causal_attn))


def packed(lengths: Sequence[int], budget: int, n_sequences: int) -> Iterator[list[int]]:
    """Put texts into batches, those of like length together.

    Args:
        lengths: How many tokens each has; one of more than ``budget`` is alone.
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
