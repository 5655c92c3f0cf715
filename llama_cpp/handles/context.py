"""``Context``: decoding. This is where batches go in and logits and embeddings come out."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from .. import llama_cpp as raw
from ..errors import BatchError, ClosedError, ContextError, InvalidArgumentError
from ..native.assertions import guarded
from ..native.backend import bridge, collect_errors, context_error
from ..native.threads import POLL, usable_cores
from ..validation import native_arguments as checks
from .adapter import ControlVector, LoraAdapter
from .base import ExclusiveHandle
from .batch import Batch
from .batch_errors import check_batch, failure, refusal
from .context_params import check_params
from .memory import Memory
from .model import Model
from .state import State
from .threadpool import shared_threadpool

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Context(ExclusiveHandle):
    """The memory and the compute buffers for decoding with one model.

    One thread at a time uses it; others wait. Closing it, or its model, from another thread
    aborts a decode that is running.

    Args:
        model: The model; it stays alive as long as the context.
        params: ``llama_context_params``; ``Context.default_params()`` by default.
        poll: How eagerly the threads that compute look for the next graph, 0 to 100. They are the
            process's.

    Raises:
        ContextError: The parameters contradict each other or the model.
        OutOfMemoryError: The context does not fit into memory.
        InvalidArgumentError: A parameter is out of range.
        ClosedError: The model is closed.
    """

    def __init__(
        self, model: Model, params: raw.llama_context_params | None = None, *, poll: int = POLL
    ) -> None:
        checks.instance(model, Model, "model")
        self.model = model
        self.params = self.default_params() if params is None else params
        check_params(self.params, model)
        self._abort_callback: Any = None
        self._callback_error: BaseException | None = None
        self.adapters: tuple[tuple[LoraAdapter, float], ...] = ()
        """The adapters that are applied, and their scales; ``set_adapters`` changes them."""
        self._encoded = False
        self.poll = poll
        self.threadpool: Any = shared_threadpool(poll)
        model_pointer = model.acquire()
        try:
            with collect_errors() as log:
                pointer = guarded(raw.llama_init_from_model)(model_pointer, self.params)
            if pointer is None:
                raise context_error(self.params.n_ctx, list(log))
            super().__init__(pointer, raw.llama_free, parent=model)
        finally:
            model.release()
        self.n_ctx: int = raw.llama_n_ctx(pointer)
        self.n_ctx_seq: int = raw.llama_n_ctx_seq(pointer)
        self.n_batch: int = raw.llama_n_batch(pointer)
        self.n_ubatch: int = raw.llama_n_ubatch(pointer)
        self.n_seq_max: int = raw.llama_n_seq_max(pointer)
        self.pooling_type: int = raw.llama_pooling_type(pointer)
        self.has_memory: bool = raw.llama_get_memory(pointer) is not None
        self.outputs_everywhere = self.params.embeddings
        predicts = self.params.ctx_type == raw.LLAMA_CONTEXT_TYPE_MTP
        self.state_width: int = model.n_embd_out if predicts else 0
        """The width of the hidden state that has to go with each token."""
        self.set_abort_callback(None)

    @staticmethod
    def default_params() -> raw.llama_context_params:
        """The engine's defaults, with a thread per usable core, to be changed and passed on."""
        params = raw.llama_context_default_params()
        params.n_threads = params.n_threads_batch = usable_cores()
        return params

    @property
    def memory(self) -> Memory:
        """What the context remembers, by sequence."""
        return Memory(self)

    @property
    def state(self) -> State:
        """The memory as bytes and files."""
        return State(self)

    def decode(self, batch: Batch) -> None:
        """Run a batch through the model and remember its tokens.

        Args:
            batch: At most ``n_batch`` entries.

        Raises:
            NoKVSlotError: The memory has no room; nothing changed.
            DecodeAbortedError: ``abort()``, ``close()`` or the abort callback stopped it.
                Micro-batches that were done stay in memory: ask ``memory.seq_pos_max``.
            BatchError: The batch is empty or too large.
            TokenError: A token id is not in the vocabulary.
            SequenceError: A sequence id or position cannot be.
            DecodeError: The computation failed.
            InvalidArgumentError: The model has an encoder, which has to come first.
        """
        if self.model.has_encoder and not self._encoded:
            raise InvalidArgumentError("this model has an encoder: call encode with the text first")
        self._run(raw.llama_decode, batch)

    def encode(self, batch: Batch) -> None:
        """Run a batch through the encoder of the model; no memory is used.

        Args:
            batch: At most ``n_ubatch`` entries: an encoder sees all of them at once.

        Raises:
            InvalidArgumentError: The model has no encoder.
            DecodeError: One of its subclasses, or those of ``decode``.
        """
        if self.has_memory and not self.model.has_encoder:
            raise InvalidArgumentError("this model has no encoder: use decode")
        checks.instance(batch, Batch, "batch")
        checks.encoder_input(batch.n_tokens, self.n_ubatch)
        self._run(raw.llama_encode, batch)
        self._encoded = True

    def abort(self) -> None:
        """Stop the decode that is running on another thread, or the next one.

        It raises ``DecodeAbortedError`` there. A context stays usable.
        """
        self._stop.value = True

    def forget_abort(self) -> None:
        """Let the next decode run: what ``abort()`` was to stop is over."""
        self._stop.value = False

    def set_abort_callback(self, callback: Callable[[], bool] | None) -> None:
        """Ask ``callback`` during every decode whether to stop; None removes it.

        It runs on the decoding thread after every graph node, hundreds of times per decode: keep
        it short. An exception in it stops the decode too and is raised there. Meanwhile the context
        computes with threads of its own.
        """
        if callback is None:
            # The engine reads this byte after every graph node; a Python callback there would cost
            # more than the node.
            flag_is_set = bridge("bridge_flag_is_set")
            native = ctypes.cast(flag_is_set, raw.ggml_abort_callback)
            data = ctypes.addressof(self._stop)
        else:
            native, data = _abort_callback(weakref.ref(self), callback), None
        self.call(raw.llama_set_abort_callback, native, data)
        self._abort_callback = native
        # Nobody may wait for cores that are held while Python runs.
        pool = self.threadpool if callback is None else None
        self.call(raw.llama_attach_threadpool, pool, None)
        self._shares_threads = pool is not None

    def logits(self, index: int = -1) -> npt.NDArray[np.float32]:
        """A copy of one row of logits.

        Args:
            index: Of the batch entry that asked for an output; -1 is the last one that did.

        Returns:
            float32, shape (n_vocab,).

        Raises:
            InvalidArgumentError: There is no output for this entry.
        """
        return self._row(raw.llama_get_logits_ith, index, self.model.n_vocab, "logits")

    def embeddings(self, index: int = -1) -> npt.NDArray[np.float32]:
        """A copy of the embedding of one batch entry, for contexts that do not pool.

        Args:
            index: Of the batch entry that asked for an output; -1 is the last one that did.

        Returns:
            float32, shape (n_embd_out,).

        Raises:
            InvalidArgumentError: There is no embedding for this entry.
        """
        if self.pooling_type != raw.LLAMA_POOLING_TYPE_NONE:
            raise InvalidArgumentError("this context pools: use sequence_embedding")
        return self._row(raw.llama_get_embeddings_ith, index, self.model.n_embd_out, "embeddings")

    def sequence_embedding(self, seq_id: int = 0) -> npt.NDArray[np.float32]:
        """A copy of the pooled embedding of a sequence, or of its rank scores.

        Returns:
            float32, shape (n_embd_out,), or (n_cls_out,) with rank pooling.

        Raises:
            SequenceError: The context has no such sequence.
            InvalidArgumentError: The context does not pool, the last batch lacked it, or the model
                has no scores.
        """
        checks.sequence_id(seq_id, self.n_seq_max)
        ranks = self.pooling_type == raw.LLAMA_POOLING_TYPE_RANK
        if ranks:
            self.model.check_has_scores()
        width = self.model.n_cls_out if ranks else self.model.n_embd_out
        return self._row(raw.llama_get_embeddings_seq, seq_id, width, "pooled embeddings")

    def set_threads(self, n_threads: int, n_threads_batch: int) -> None:
        """Set the threads for single tokens and for batches."""
        for name, count in (("n_threads", n_threads), ("n_threads_batch", n_threads_batch)):
            checks.integer(name, count, 1, raw.GGML_MAX_N_THREADS)
        self.call(raw.llama_set_n_threads, n_threads, n_threads_batch)

    def set_embeddings(self, embeddings: bool) -> None:
        """Set whether decoding gives embeddings."""
        self.call(raw.llama_set_embeddings, bool(embeddings))
        self.outputs_everywhere = bool(embeddings)

    def set_causal_attn(self, causal: bool) -> None:
        """Set whether a token sees only those before it."""
        self.call(raw.llama_set_causal_attn, bool(causal))

    def synchronize(self) -> None:
        """Wait until all computations are done."""
        self.call(raw.llama_synchronize)

    def set_adapters(self, adapters: Sequence[tuple[LoraAdapter, float]]) -> None:
        """Apply LoRA adapters from now on, in place of those applied before.

        Args:
            adapters: Pairs of an adapter and its scale; empty removes all.

        Raises:
            InvalidArgumentError: An adapter belongs to another model, or a scale is not finite.
            ClosedError: An adapter is closed.
        """
        for adapter, _ in adapters:
            if not isinstance(adapter, LoraAdapter) or adapter.model is not self.model:
                raise InvalidArgumentError(
                    "an adapter works with the model that it was loaded for, and with no other"
                )
        count = len(adapters)
        weights = checks.finite_floats([scale for _, scale in adapters], "scales")
        scales = (ctypes.c_float * count)(*weights.tolist())
        with ExitStack() as leases:  # so that no other thread closes an adapter meanwhile
            pointers = (ctypes.c_void_p * count)()
            for index, (adapter, _) in enumerate(adapters):
                pointers[index] = adapter.acquire()
                leases.callback(adapter.release)
            pointer = self.acquire()
            leases.callback(self.release)
            if raw.llama_set_adapters_lora(pointer, pointers, count, scales):
                raise ContextError("the adapters cannot be applied to this context")
            for adapter, _ in self.adapters:
                adapter.users.discard(self)
            self.adapters = tuple(adapters)
            for adapter, _ in self.adapters:
                adapter.users.add(self)

    def drop_adapter(self, adapter: LoraAdapter) -> None:
        """Stop applying every adapter if this one is among them: it is about to be freed."""
        if any(applied is adapter for applied, _ in self.adapters):
            with suppress(ClosedError):
                self.set_adapters(())

    def set_control_vector(self, vector: ControlVector | None) -> None:
        """Add a control vector to the hidden states from now on; None removes it.

        Raises:
            InvalidArgumentError: Its width or its layers do not fit the model.
        """
        if vector is None:
            self.call(raw.llama_set_adapter_cvec, None, 0, self.model.n_embd, 0, 0)
            return
        vector.check_fits(self.model)
        data = vector.data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        failed = self.call(
            raw.llama_set_adapter_cvec,
            data, vector.data.size, self.model.n_embd, vector.first_layer, vector.last_layer,
        )  # fmt: skip
        if failed:
            raise ContextError("the control vector cannot be applied to this context")

    def compute(self, function: Callable[..., int], *arguments: Any) -> int:
        """Call a raw function that computes, under the caller's lease, and return its code.

        Args:
            function: One that ``native.assertions`` can guard.
            *arguments: All of them.

        Raises:
            EngineAssertionError: The engine asserted. The context is closed.
        """
        if self._shares_threads:
            return self.guarded(function, *arguments)
        # Threads of its own would go on with a graph that an exception leaves.
        return function(*arguments)

    def _run(self, function: Any, batch: Batch) -> None:
        check_batch(batch, self.model, n_batch=self.n_batch, state_width=self.state_width)
        count = batch.n_tokens
        if 0 < self.params.n_outputs_max < count:
            wanted = int(batch.outputs[:count].astype(bool).sum())
            checks.output_count(
                count if self.outputs_everywhere else wanted, self.params.n_outputs_max
            )
        if not self.has_memory:
            checks.encoder_input(count, self.n_ubatch)
            checks.single_sequences(batch.n_seq_ids[:count])
        pointer = self.acquire()
        try:
            if batch.n_tokens > self.n_ubatch and not raw.llama_get_causal_attn(pointer):
                raise BatchError(
                    f"without causal attention {batch.n_tokens} entries must fit into one "
                    f"micro-batch of n_ubatch={self.n_ubatch}"
                )
            with collect_errors() as log:
                code = self.compute(function, pointer, batch.struct)
        finally:
            self.release()
        if code or self._callback_error is not None:
            self.raise_for(code, batch.n_tokens, list(log), batch)

    def raise_for(
        self, code: int, n_tokens: int, log: list[str], batch: Batch | None = None
    ) -> None:
        """Raise what a call for so many tokens means that returned ``code``; nothing for 0.

        Args:
            code: Of ``llama_decode`` or the like.
            n_tokens: How many there were.
            log: What the call logged.
            batch: What the engine may have refused to begin with.

        Raises:
            DecodeError: One of its subclasses, or why the engine refused the batch.
            ClosedError: The interpreter ends.
        """
        callback_error, self._callback_error = self._callback_error, None
        if callback_error is None and not code:
            return
        self._stop.value = False
        if callback_error is not None:
            raise callback_error
        if code == 2 and self._gone_at_exit:
            raise self._closed_error()
        if code == -1 and batch is not None:
            raise refusal(batch, self.model.n_vocab, self.n_seq_max, log)
        raise failure(code, n_tokens, self.n_ctx, log)

    def _row(self, function: Any, index: int, width: int, what: str) -> npt.NDArray[np.float32]:
        import numpy as np

        checks.integer("index", index, -checks.INT32_MAX, checks.INT32_MAX)
        pointer = self.acquire()
        try:
            with collect_errors() as log:
                row = function(pointer, index)
                if row:
                    # The engine moves this buffer at the next decode.
                    copied: npt.NDArray[np.float32] = np.ctypeslib.as_array(row, (width,)).copy()
                    return copied
        finally:
            self.release()
        raise InvalidArgumentError(
            f"there is no row of {what} for index {index}: the last batch asked for none there",
            list(log),
        )


def _abort_callback(this: weakref.ref[Context], callback: Callable[[], bool]) -> Any:
    # The context keeps this callback; a strong reference back would be a cycle.
    @raw.ggml_abort_callback
    def should_abort(_: int | None) -> bool:
        context = this()
        if context is None or context._stop.value:
            return True
        try:
            return bool(callback())
        except BaseException as error:
            context._callback_error = error
            return True

    return should_abort
