"""``LlamaContext``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError
from ..handles import Context
from ..native.backend import collect_errors
from ..native.threads import POLL
from .batch import LlamaBatch
from .candidate_sampling import CandidateSampling
from .model import LlamaModel

if TYPE_CHECKING:
    from ctypes import _Pointer, c_float


class LlamaContext(CandidateSampling):
    """The memory for decoding with a model, and the logits and embeddings that come out.

    Args:
        model: The model.
        params: What ``llama_context_default_params()`` gives, changed or not.
        verbose: Kept for scripts; ``llama_cpp.set_verbose`` sets what is logged.
        poll: How eagerly the threads that compute look for the next graph, 0 to 100.

    Raises:
        ContextError: The parameters contradict each other or the model.
        OutOfMemoryError: The context does not fit into memory.
        InvalidArgumentError: A parameter is out of range.
        ClosedError: The model is closed.
    """

    def __init__(
        self,
        *,
        model: LlamaModel,
        params: raw.llama_context_params,
        verbose: bool = True,
        poll: int = POLL,
    ) -> None:
        super().__init__(model)
        self.params = params
        self.verbose = verbose
        self.handle = Context(model.handle, params, poll=poll)

    @staticmethod
    def default_params() -> raw.llama_context_params:
        """The engine's defaults, with a thread per usable core, to be changed and passed on."""
        return Context.default_params()

    @property
    def ctx(self) -> raw.llama_context_p:
        """The address of the ``llama_context``."""
        pointer: raw.llama_context_p = self.handle.pointer
        return pointer

    @property
    def memory(self) -> raw.llama_memory_t | None:
        """The address of its memory; None for models that keep none (BERT)."""
        pointer: raw.llama_memory_t | None = self.handle.call(raw.llama_get_memory)
        return pointer

    def close(self) -> None:
        """Free the context. Closing twice does nothing; other methods raise ``ClosedError`` then.

        Raises:
            BusyError: It is in use on the calling thread: this is a callback of a native call.
        """
        self.handle.close()
        self._close_samplers()

    def n_ctx(self) -> int:
        """Cells of the memory, in tokens."""
        self._check_open()
        return self.handle.n_ctx

    def pooling_type(self) -> int:
        """How embeddings are pooled: ``LLAMA_POOLING_TYPE_*``."""
        self._check_open()
        return self.handle.pooling_type

    def set_n_threads(self, n_threads: int, n_threads_batch: int) -> None:
        """Set the threads for single tokens and for batches."""
        self.handle.set_threads(n_threads, n_threads_batch)

    def get_state_size(self) -> int:
        """Bytes that the state of all sequences takes now."""
        return int(self.handle.call(raw.llama_state_get_size))

    def print_timings(self) -> None:
        """Write the times so far to the log of ``llama_cpp``, at level INFO."""
        self.handle.call(raw.llama_perf_context_print)

    def reset_timings(self) -> None:
        """Start measuring times anew."""
        self.handle.call(raw.llama_perf_context_reset)

    # Decoding.

    def decode(self, batch: LlamaBatch) -> None:
        """Run a batch through the model and remember its tokens.

        Raises:
            NoKVSlotError: The memory has no room; nothing changed.
            DecodeAbortedError: The abort callback stopped it.
            DecodeError: The computation failed. Like the two above, a ``RuntimeError``.
            BatchError: The batch is empty or too large.
            TokenError: A token id is not in the vocabulary.
            SequenceError: A sequence id or position cannot be.
        """
        self.handle.decode(batch.checked())

    def encode(self, batch: LlamaBatch) -> None:
        """Run a batch through the encoder of the model. It raises what ``decode`` does."""
        self.handle.encode(batch.checked())

    def get_logits(self) -> _Pointer[c_float]:
        """The logits of the last decode, n_vocab for each output that it was asked for, in order.

        The engine moves them at the next decode.

        Raises:
            InvalidArgumentError: There are none.
        """
        return self._row("logits", raw.llama_get_logits)

    def get_logits_ith(self, i: int) -> _Pointer[c_float]:
        """The logits for one token of the last batch.

        Args:
            i: Its index in the batch; negative: counted back from the last output.

        Raises:
            InvalidArgumentError: No output was asked for there.
        """
        return self._row("logits", raw.llama_get_logits_ith, i)

    def get_embeddings(self) -> _Pointer[c_float]:
        """The embeddings of the last decode, one for each output that it was asked for, in order.

        Raises:
            InvalidArgumentError: There are none: the context was created without
                ``embeddings = True``, or it pools them.
        """
        return self._row("embeddings", raw.llama_get_embeddings)

    def get_embeddings_ith(self, i: int) -> _Pointer[c_float]:
        """The embedding for one token of the last batch.

        Args:
            i: Its index in the batch; negative: counted back from the last output.

        Raises:
            InvalidArgumentError: There is none.
        """
        return self._row("embeddings", raw.llama_get_embeddings_ith, i)

    def get_embeddings_seq(self, seq_id: int) -> _Pointer[c_float]:
        """The pooled embedding of a sequence.

        Raises:
            InvalidArgumentError: The context does not pool, or the last batch lacked the sequence.
        """
        return self._row("pooled embeddings", raw.llama_get_embeddings_seq, seq_id)

    # Memory. A negative p0 means 0, a negative p1 the end.

    def kv_cache_clear(self) -> None:
        """Forget every sequence."""
        self.handle.memory.clear()

    def kv_cache_seq_rm(self, seq_id: int, p0: int, p1: int) -> bool:
        """Forget positions [p0, p1) of a sequence, or of every sequence with -1.

        Returns:
            False if the memory cannot forget a part (recurrent models); nothing changed then.

        Raises:
            SequenceError: The context has no such sequence.
        """
        return self.handle.memory.seq_rm(seq_id, p0, p1)

    def kv_cache_seq_cp(self, seq_id_src: int, seq_id_dst: int, p0: int, p1: int) -> None:
        """Let a sequence share positions [p0, p1) of another.

        Raises:
            SequenceError: The context has no such sequence, or can share only whole ones.
        """
        self.handle.memory.seq_cp(seq_id_src, seq_id_dst, p0, p1)

    def kv_cache_seq_keep(self, seq_id: int) -> None:
        """Forget every sequence but this one.

        Raises:
            SequenceError: The context has no such sequence.
        """
        self.handle.memory.seq_keep(seq_id)

    def kv_cache_seq_shift(self, seq_id: int, p0: int, p1: int, shift: int) -> None:
        """Add ``shift`` to positions [p0, p1) of a sequence.

        Raises:
            SequenceError: The context has no such sequence, or cannot shift.
        """
        self.handle.memory.seq_add(seq_id, p0, p1, shift)

    def _row(self, what: str, function: Any, *arguments: int) -> _Pointer[c_float]:
        with collect_errors() as log:
            row: _Pointer[c_float] = self.handle.call(function, *arguments)
        if not row:
            where = f" for index {arguments[0]}" if arguments else ""
            raise InvalidArgumentError(
                f"there are no {what}{where}: the last batch or the context did not ask for them",
                list(log),
            )
        return row

    def _check_open(self) -> None:
        _ = self.handle.pointer
