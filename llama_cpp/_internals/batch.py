"""``LlamaBatch`` and ``LlamaTokenDataArray``: what goes into a decode, and what to choose from."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .. import llama_cpp as raw
from ..errors import BatchError, ClosedError, InvalidArgumentError, SequenceError
from ..handles import Batch, Candidates

if TYPE_CHECKING:
    import numpy.typing as npt


class LlamaBatch:
    """Tokens, or embeddings, for ``LlamaContext.decode``.

    Args:
        n_tokens: Capacity.
        embd: 0 for token ids; the width of one embedding for embeddings.
        n_seq_max: Sequences that one token may belong to.
        verbose: Kept for scripts; it changes nothing.

    Raises:
        BatchError: A capacity is not positive.
    """

    def __init__(self, *, n_tokens: int, embd: int, n_seq_max: int, verbose: bool = True) -> None:
        self.embd = embd
        self.n_seq_max = n_seq_max
        self.verbose = verbose
        self._handle: Batch | None = Batch(n_tokens, n_seq_max, embd)

    @property
    def handle(self) -> Batch:
        """The arrays.

        Raises:
            ClosedError: The batch is closed. This holds for every method below.
        """
        if self._handle is None:
            raise ClosedError("this LlamaBatch is closed: create a new one")
        return self._handle

    @property
    def batch(self) -> raw.llama_batch:
        """The ``llama_batch``; what is written into it counts."""
        return self.handle.struct

    def close(self) -> None:
        """Let the arrays go. Closing twice does nothing."""
        self._handle = None

    def n_tokens(self) -> int:
        """Tokens in the batch."""
        return self.handle.n_tokens

    def reset(self) -> None:
        """Empty the batch."""
        self.handle.clear()

    def set_batch(self, batch: Iterable[int], n_past: int, logits_all: bool) -> None:
        """Replace the content by a part of sequence 0.

        Args:
            batch: Token ids.
            n_past: The position of the first one.
            logits_all: Whether an output is wanted for each, or for the last one only.

        Raises:
            BatchError: They do not fit.
            SequenceError: A negative position.
            TokenError: They are no token ids.
        """
        self.handle.clear()
        self.handle.add_sequence(batch, n_past, output_all=logits_all)

    def add_sequence(self, batch: Iterable[int], seq_id: int, logits_all: bool) -> None:
        """Append a whole sequence, from position 0 on.

        Args:
            batch: Token ids.
            seq_id: The sequence.
            logits_all: Whether an output is wanted for each, or for the last one only.

        Raises:
            BatchError: They do not fit.
            SequenceError: A negative sequence id.
            TokenError: They are no token ids.
        """
        self.handle.add_sequence(batch, 0, seq_id, output_all=logits_all)

    def checked(self) -> Batch:
        """The arrays, after a look at what scripts may have written into them.

        Raises:
            BatchError: There is no room for so many tokens.
            SequenceError: A token is in no sequence, or in more than there is room for.
        """
        handle = self.handle
        count = handle.n_tokens
        if not 0 <= count <= handle.capacity:
            raise BatchError(
                f"batch.n_tokens = {count}, but the batch was created for {handle.capacity}"
            )
        used = handle.n_seq_ids[:count]
        if count and not 1 <= used.min() <= used.max() <= handle.n_seq_max:
            raise SequenceError(
                f"each batch.n_seq_id[i] must be from 1 to n_seq_max={handle.n_seq_max}"
            )
        return handle


class LlamaTokenDataArray:
    """Every token with its logit and probability, for the ``sample_*`` methods of ``LlamaContext``.

    ``candidates_data`` is the memory: a record array with ``id``, ``logit`` and ``p``.
    ``candidates`` is the ``llama_token_data_array`` over it, which samplers reorder and shorten.

    Args:
        n_vocab: Tokens in the vocabulary.

    Raises:
        InvalidArgumentError: There are none.
    """

    def __init__(self, *, n_vocab: int) -> None:
        import numpy as np

        if n_vocab < 1:
            raise InvalidArgumentError(f"n_vocab={n_vocab} must be positive")
        self.n_vocab = n_vocab
        self.default_candidates_data_id = np.arange(n_vocab, dtype=np.int32)
        self.default_candidates_data_p = np.zeros(n_vocab, np.float32)
        self.candidates_data: Any = np.recarray(
            n_vocab, [("id", "<i4"), ("logit", "<f4"), ("p", "<f4")]
        )
        data = ctypes.cast(self.candidates_data.ctypes.data, ctypes.POINTER(raw.llama_token_data))
        self.candidates = raw.llama_token_data_array(data, n_vocab, -1, False)
        self._handle = Candidates.borrow(ctypes.pointer(self.candidates))
        self.copy_logits(self.default_candidates_data_p)

    def copy_logits(self, logits: npt.ArrayLike) -> None:
        """Start over with these logits.

        Args:
            logits: One per token, shape (n_vocab,).

        Raises:
            InvalidArgumentError: They have another shape.
        """
        import numpy as np

        row = np.asarray(logits, np.float32)
        if row.shape != (self.n_vocab,):
            raise InvalidArgumentError(
                f"logits of shape {row.shape} do not fit candidates for n_vocab={self.n_vocab}"
            )
        self.candidates_data["id"] = self.default_candidates_data_id
        self.candidates_data["logit"] = row
        self.candidates_data["p"] = self.default_candidates_data_p
        self.candidates.size = self.n_vocab
        self.candidates.selected = -1
        self.candidates.sorted = False

    @property
    def handle(self) -> Candidates:
        """The candidates that are left.

        Raises:
            InvalidArgumentError: A script has set ``candidates.size`` to what cannot be.
        """
        if not 1 <= self.candidates.size <= self.n_vocab:
            raise InvalidArgumentError(
                f"candidates.size = {self.candidates.size} must be from 1 to {self.n_vocab}"
            )
        return self._handle
