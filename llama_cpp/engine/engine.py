"""``Engine``: steps of admit, plan, decode, sample, for all requests of a context together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import get_ident

from ..errors import (
    ContextWindowError,
    DecodeAbortedError,
    ForkError,
    InvalidArgumentError,
    LlamaError,
    NoKVSlotError,
)
from ..handles import Batch, Context
from .adapter_spans import AdapterSet, adapters_at, spans_of
from .adapters import Adapters
from .admission import Admission
from .finishing import Finisher
from .media_evaluator import MediaEvaluator
from .postprocess import Postprocessor
from .request import Call, Request
from .restored_state import RestoredStates
from .scheduler import Chunk, plan, rooms_for_drafts, youngest
from .sequences import Sequences
from .slots import Slot
from .speculative.drafter import Drafter
from .step_lock import StepLock, closed, in_use
from .waiting import WaitingRequests


class Engine:
    """Decodes the requests of any number of threads together.

    No thread of its own: whoever waits for tokens steps, and others who wait meanwhile sleep until
    theirs are there, or until it is their turn to step.

    Args:
        context: It has a sequence per slot; its memory is the engine's.
        end_tokens: By token, whether a text ends with it.
        context_shift: Whether a full sequence forgets its older half instead of ending.
        drafter: Guesses tokens that one decode then checks.
        adapters: What requests are computed with that do not say anything else.
    """

    def __init__(
        self,
        context: Context,
        end_tokens: Mapping[int, bool],
        *,
        context_shift: bool = False,
        drafter: Drafter | None = None,
        adapters: AdapterSet | None = None,
    ) -> None:
        self.slots = [Slot(number) for number in range(context.n_seq_max)]
        self.sequences = Sequences(context, None if drafter is None else drafter.memory)
        self.restored = RestoredStates(self.slots, self.sequences)
        self.adapters = Adapters(context, adapters or ())
        self.n_ctx = context.n_ctx_seq
        self._context = context
        self._waiting = WaitingRequests()
        self._finisher = Finisher(self.slots, self._waiting)
        self._postprocessor = Postprocessor(
            context, self.sequences, self._finisher, end_tokens,
            shifts=context_shift and self.sequences.can_shift,
        )  # fmt: skip
        self._drafter = drafter if self.sequences.drafts_max else None
        # One micro-batch per step, so that nobody waits longer than that to be heard.
        self._budget = min(context.n_batch, context.n_ubatch)
        self._n_outputs = context.params.n_outputs_max or context.n_batch
        self._batch = Batch(self._budget)
        self._media_evaluator = MediaEvaluator(context, self.sequences)
        self._admission = Admission(
            self.slots, self._waiting, self.sequences, self.restored, self._finisher,
            self._media_evaluator,
        )  # fmt: skip
        self._step_lock = StepLock()
        self._works_by_hand = self._needs_repair = False
        self.after_step: Callable[[], None] = _nothing
        """Is called after each step, by the thread that steps."""
        self._process = os.getpid()

    # What callers do, from any thread.

    def submit(self, requests: Sequence[Request]) -> Call:
        """Queue requests, which are decoded while somebody waits.

        Raises:
            ContextWindowError: A prompt does not fit into the context.
            InvalidArgumentError: It is to be shifted, and cannot be.
            ClosedError: The engine is closed.
        """
        self._check_usable()
        for request in requests:
            n_cells = request.n_prompt + request.n_extra
            if self.n_ctx - n_cells < (1 if request.max_tokens else 0):
                raise ContextWindowError(
                    f"Requested tokens ({n_cells}) exceed context window of {self.n_ctx}: "
                    "shorten the prompt, or create the model with a larger n_ctx",
                    n_tokens=n_cells, n_ctx=self.n_ctx,
                )  # fmt: skip
            if request.terms.shifts and (request.media or not self.sequences.can_shift):
                raise InvalidArgumentError(
                    'overflow="shift" does not go here: neither the memories of recurrent models '
                    'nor images and sounds can be shifted; give overflow="error" or "trim"'
                )
            if request.spans is None:
                request.spans = spans_of(request.tokens, self.adapters.default)
        call = Call(requests)
        with self._step_lock.lock:
            for request in requests:
                request.number, request.call = self._finisher.number(), call
                request.submit_time = time.monotonic()
            self._waiting.add(requests)
        return call

    def wait(self, call: Call, *, until_finished: bool = False) -> None:
        """Step, or let another thread step, until the call has news or is finished.

        Raises:
            ClosedError: The engine was closed.
            BusyError: This is a callback of a step.
        """
        call.wants_all, call.thread = until_finished, get_ident()
        try:
            while not call.is_ready():
                if self._step_lock.take(call):
                    self._step_until(call.is_ready)
        finally:
            self._step_lock.decline(call)

    def drive(self) -> None:
        """Step for everybody who waits, until nothing is left, or somebody works by hand.

        Raises:
            ClosedError: The engine was closed.
        """
        self._step_lock.take_in_turn(Call(()))
        self._step_until(lambda: not len(self) or self._step_lock.is_wanted)

    def _step_until(self, is_over: Callable[[], bool]) -> None:
        """Step with the step lock, which is released at the end."""
        try:
            while not is_over():
                if not self.step() and self._step_lock.is_wanted:
                    return  # what waits is to wait for work by hand
                self._step_lock.wake_ready()
                self.after_step()
        except BaseException:
            self._needs_repair = True
            raise
        finally:
            self._step_lock.leave()

    def cancel(self, call: Call) -> None:
        """End the requests of a call.

        Their slots are free at the next step, or at once if nobody steps.
        """
        for request in call.requests:
            request.cancelled = True
        with self._step_lock.lock:
            if self._step_lock.is_free:
                self._finisher.drop_cancelled()
            elif not self._works_by_hand and all(
                slot.request is None or slot.request.cancelled for slot in self.slots
            ):
                self._context.abort()

    @contextmanager
    def exclusive(self, slot: Slot | None = None) -> Iterator[None]:
        """Keep every other thread from stepping, for work on the context by hand.

        Args:
            slot: What is to be worked on: a request of another thread that uses it ends first.

        Raises:
            ClosedError: The engine is closed.
            BusyError: This is a callback of a step, or a request of this thread uses the slot.
        """
        self._check_usable()
        tickets = () if slot is None else ((slot.id, self._finisher.number()),)
        self._admission.tickets += tickets
        try:
            self._take_step_lock(slot)
            try:
                with self._step_lock.lock:
                    self._works_by_hand = True
                self._context.forget_abort()
                self.repair()
                yield
            finally:
                self._works_by_hand = False
                self._step_lock.leave(after_work_by_hand=True)
        finally:
            for ticket in tickets:
                self._admission.tickets.remove(ticket)

    def _take_step_lock(self, slot: Slot | None) -> None:
        idle = Call(())
        idle.wants_step_lock = True
        while True:
            self._step_lock.take_in_turn(idle)
            if slot is None or (request := slot.request) is None:
                return
            if request.call is not None and request.call.thread == get_ident():
                self._step_lock.leave()
                raise in_use()
            self._step_until(lambda: slot.request is None)

    def close(self) -> None:
        """End all requests with ``ClosedError``. The context may be closed afterwards."""
        self._step_lock.close()

    @property
    def context(self) -> Context:
        """What it decodes with."""
        return self._context

    def check_open(self) -> None:
        """Refuse work for an engine that was closed.

        Raises:
            ClosedError: It was, or its context.
        """
        if self._step_lock.closed or self._context.closed:
            raise closed()

    def __len__(self) -> int:
        """How many requests wait or run."""
        return len(self._waiting) + sum(slot.request is not None for slot in self.slots)

    # A step.

    def step(self) -> bool:
        """Decode one batch and hand out the tokens that it gives.

        Returns:
            False if there was nothing to do.
        """
        if self._step_lock.closed:
            raise closed()
        if self._needs_repair:
            self.repair()
        self._finisher.drop_cancelled()
        self._finisher.end_overdue()
        if len(self._waiting):
            self._admission.admit()
        shown = bool(self._media_evaluator.slots) and self._show()
        slots = self.adapters.turn(self.slots)
        if self._drafter is not None:
            self._draft(self._drafter, slots)
        chunks = plan(
            slots, self._budget, self._n_outputs,
            checkpoints=self.sequences.needs_checkpoints,
        )  # fmt: skip
        if not chunks:
            return shown
        if self._attempt(chunks, lambda: self._decode(chunks)):
            self._postprocessor.commit(chunks)
        return True

    def _show(self) -> bool:
        """Evaluate one image or sound that comes next in its prompt, if there is any."""
        slot = self._media_evaluator.due()
        if slot is not None:
            self._attempt([Chunk(slot, 1, False)], lambda: self._evaluate(slot))
        return slot is not None

    def _evaluate(self, slot: Slot) -> None:
        self._apply_adapters(slot)
        with self.sequences.decoding((slot,)):
            self._media_evaluator.evaluate(slot)

    def _apply_adapters(self, slot: Slot) -> None:
        self.adapters.apply(adapters_at(slot.spans, slot.n_cached))

    def _attempt(self, chunks: Sequence[Chunk], decode: Callable[[], None]) -> bool:
        """Decode; return False when that did not end as planned, which has then been dealt with."""
        try:
            decode()
        except DecodeAbortedError:
            if self._step_lock.closed:
                raise closed() from None
            self.repair()
        except NoKVSlotError as error:
            self._make_room(chunks, error)
        except LlamaError as error:
            if self._context.closed:  # by somebody else, or by an assertion
                raise
            for chunk in chunks:
                self._finisher.fail(chunk.slot, error)
                self.sequences.clear(chunk.slot)
        else:
            return True
        return False

    def _draft(self, drafter: Drafter, slots: Sequence[Slot]) -> None:
        share = min(self._budget, self._n_outputs) // len(self.slots) - 1
        most = min(share, self.sequences.drafts_max)
        for slot in slots:
            slot.drafts = []
        for slot, error in drafter.guess(rooms_for_drafts(slots, most, self.n_ctx)):
            self._finisher.fail(slot, error)
        for slot in slots:
            if slot.drafts and slot.request is not None:
                del slot.drafts[slot.request.sampler.n_allowed(slot.drafts) :]

    def _decode(self, chunks: Sequence[Chunk]) -> None:
        tokens: list[int] = []
        positions: list[int] = []
        seq_ids: list[int] = []
        outputs: list[bool] = []
        for slot, count, outputs_all in chunks:
            start = slot.n_cached
            tokens += (slot.tokens[start:] + slot.drafts)[:count]
            positions += range(start, start + count)
            seq_ids += [slot.id] * count
            outputs += [outputs_all] * (count - 1)
            outputs.append(outputs_all or start + count >= len(slot.tokens))
        self._apply_adapters(chunks[0].slot)
        self._batch.fill(tokens, positions, seq_ids, outputs)
        with self.sequences.decoding(chunk.slot for chunk in chunks):
            self._context.decode(self._batch)
        if self._drafter is not None:
            self._drafter.follow(chunks, tokens, positions, seq_ids)

    # What to do when a decode does not end as planned.

    def _make_room(self, chunks: Sequence[Chunk], error: NoKVSlotError) -> None:
        """Give up what loses least: what nobody uses, then the youngest request's cells."""
        self.repair()
        idle = [slot for slot in self.slots if slot.request is None and slot.n_cached]
        if idle:
            self.sequences.clear(min(idle, key=lambda slot: slot.last_used))
        elif len(chunks) > 1:
            slot = youngest(chunks)
            self.sequences.clear(slot)
            self._admission.preempt(slot)
            self._finisher.is_full = True
        else:
            self._finisher.fail(chunks[0].slot, error)

    def repair(self) -> None:
        """Make the memory agree with the slots, after whatever interrupted a step."""
        self._needs_repair = False
        for slot in self.slots:
            if slot.n_cached or slot.request is not None:
                self.sequences.repair(slot)

    def _check_usable(self) -> None:
        self.check_open()
        if os.getpid() != self._process:
            raise ForkError(
                "this process was forked after the model was loaded, and the engine's threads do "
                "not exist in it: load the model here, or start processes with 'spawn'"
            )


def _nothing() -> None:
    """Nobody wants to know."""
