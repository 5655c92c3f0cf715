"""``Postprocessor``: the tokens and log-probabilities that a decoded batch gives."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import LlamaError
from ..handles import Context
from ..handles.logit_rows import logit_rows
from ..handles.token_sampler import RowSampler
from ..handles.traced_sampling import sample_traced
from ..sampling.batch_hooks import has_batch, process_rows
from .finishing import Finisher
from .request import Logprobs, Request
from .scheduler import Chunk
from .sequences import Sequences
from .slots import Slot

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Postprocessor:
    """Chooses the next tokens and hands them to who asked for them.

    Args:
        context: Has the logits.
        sequences: Its memory.
        finisher: End requests.
        end_tokens: By token, whether a text ends with it.
        shifts: Whether a full sequence forgets its older half instead of ending.
    """

    def __init__(
        self,
        context: Context,
        sequences: Sequences,
        finisher: Finisher,
        end_tokens: Mapping[int, bool],
        *,
        shifts: bool,
    ) -> None:
        self._context = context
        self._sequences = sequences
        self._finisher = finisher
        self._end_tokens = end_tokens
        self._shifts = shifts
        self._n_ctx = context.n_ctx_seq
        self._row_sampler = RowSampler(context.n_seq_max)
        # Where prompts are computed in two pieces, tokens that are forced would cost more.
        self._forces = not sequences.needs_checkpoints
        self._is_alone = True

    def commit(self, chunks: Sequence[Chunk]) -> None:
        """Hand out what a batch gave that was decoded."""
        self._is_alone = len(chunks) == 1
        chosen = self._choose_plain(chunks) if len(chunks) > 1 else {}
        processed = self._process_together(chunks) if len(chunks) > 1 else {}
        index = 0
        for slot, count, outputs in chunks:
            request = slot.request
            assert request is not None
            first = index
            index += count
            n_drafts = len(slot.drafts)
            slot.n_cached += count - n_drafts
            if not request.n_generated:
                request.reach(slot.n_cached)
            try:
                if request.prompt_logprobs and not request.n_measured:
                    # Nothing comes before the first token, so nothing predicts it.
                    request.consumer.prompt_token(slot.tokens[0], None)
                    request.n_measured = 1
                if outputs and not n_drafts:
                    self._commit_prompt(slot, request, first, count)
                if slot.n_cached == len(slot.tokens):
                    row, known = index - 1 - n_drafts, chosen.get(slot.id)
                    self._next_tokens(slot, request, row, known, processed.get(slot.id))
                elif self._sequences.needs_checkpoints and (
                    len(slot.tokens) - slot.n_cached == 1
                    or slot.n_cached == request.measured_from - 1
                ):
                    self._sequences.save(slot)
            except Exception as error:
                self._finisher.fail(slot, error)
                self._sequences.repair(slot)

    def _choose_plain(self, chunks: Sequence[Chunk]) -> dict[int, int | LlamaError]:
        """Choose the next tokens of those who need nothing else, by slot, in one native call."""
        due = [each for each in self._due(chunks) if not each[1].has_hooks]
        samplers = [request.sampler for _, request, _ in due]
        tokens = self._row_sampler.sample(self._context, samplers, [index for *_, index in due])
        return {slot.id: token for (slot, *_), token in zip(due, tokens, strict=True)}

    def _process_together(
        self, chunks: Sequence[Chunk]
    ) -> dict[int, npt.NDArray[np.float32] | Exception]:
        """Run the processors of those who have batch-wise ones, by slot."""
        due = [each for each in self._due(chunks) if has_batch(each[1].processor)]
        if not due:
            return {}
        rows = process_rows(
            [request.processor for _, request, _ in due],
            [_ids(request) for _, request, _ in due],
            logit_rows(self._context, [index for *_, index in due]),
        )
        return {slot.id: row for (slot, *_), row in zip(due, rows, strict=True)}

    @staticmethod
    def _due(chunks: Sequence[Chunk]) -> Iterator[tuple[Slot, Request, int]]:
        """Those without drafts whose next token is to be chosen, with the row of its logits."""
        index = -1
        for slot, count, _ in chunks:
            index += count
            request = slot.request
            if request is None or slot.drafts or not request.max_tokens:
                continue
            if request.forced:
                continue
            if slot.n_cached + count == len(slot.tokens):
                yield slot, request, index

    def _next_tokens(
        self,
        slot: Slot,
        request: Request,
        index: int,
        chosen: int | LlamaError | None,
        processed: npt.NDArray[np.float32] | Exception | None,
    ) -> None:
        """Take the token after row ``index``, and one more for each draft that was right."""
        if isinstance(chosen, Exception):
            raise chosen
        if isinstance(processed, Exception):
            raise processed
        if request.max_tokens == 0:
            self._finisher.finish(slot, "length")
            return
        drafts, slot.drafts = slot.drafts, []
        before = request.n_accepted
        for draft in (*drafts, None):
            token = self._choose(request, index, processed) if chosen is None else chosen
            if token is None:
                self._finisher.finish(slot, "stop")
                break
            if not self._take(slot, request, token, index) or token != draft:
                break
            slot.n_cached += 1
            request.n_accepted += 1
            index += 1
        if not request.finished and self._forces and not request.measures:
            self._force(slot, request)
        if drafts:
            assert request.drafting is not None
            request.drafting.learn(len(drafts), request.n_accepted - before)
            self._sequences.reject(slot)

    def _force(self, slot: Slot, request: Request) -> None:
        """Take the tokens that have to follow; the next step computes them together.

        Beside other texts they come one by one: the engine computes sequences together that have as
        many tokens each, and takes one more pass over the weights for those with more.
        """
        if not request.forced:
            request.forced.extend(request.sampler.forced())
        while request.forced and self._is_alone:
            if not self._take(slot, request, request.next_forced(), -1):
                return

    def _choose(
        self, request: Request, index: int, processed: npt.NDArray[np.float32] | None
    ) -> int | None:
        """Return the next token, or None if a stopping criterion says so."""
        if request.forced:
            return request.next_forced()
        if not request.has_hooks:
            return request.sampler.sample(self._context, index)
        row, ids = processed, _ids(request)
        if row is None:
            row = self._context.logits(index)
            if request.processor is not None:
                row = request.processor(ids, row)
        if request.stopping is not None and request.stopping(ids, row):
            return None
        if not request.traces:
            return request.sampler.sample_row(row)
        token, request.trace = sample_traced(request.sampler, row)
        return token

    def _take(self, slot: Slot, request: Request, token: int, index: int) -> bool:
        """Hand a token out; return whether the text goes on."""
        if self._end_tokens[token]:
            self._finisher.finish(slot, "stop")
            return False
        logprobs = None
        if request.logprobs is not None:
            logprobs = Logprobs(*request.logprobs.of(self._context, index, token))
        slot.tokens.append(token)
        if not request.n_generated:
            request.first_token_time = time.monotonic()
        request.n_generated += 1
        if request.consumer.token(token, logprobs) or request.sampler.is_complete:
            self._finisher.finish(slot, "stop")
        elif request.n_generated >= request.max_tokens:
            self._finisher.finish(slot, "length")
        elif len(slot.tokens) + request.n_extra >= self._n_ctx:
            wanted = request.terms.shifts
            if not (self._shifts if wanted is None else wanted) or request.media:
                self._finisher.finish(slot, "length")
            else:
                self._sequences.shift(slot, min(request.n_prompt, self._n_ctx // 2))
        return not request.finished

    def _commit_prompt(self, slot: Slot, request: Request, first: int, count: int) -> None:
        measure = request.logprobs
        assert measure is not None
        start = slot.n_cached - count
        for position in range(start + 1, min(slot.n_cached + 1, request.n_prompt)):
            if position == request.n_measured:  # one that was preempted comes here again
                token = slot.tokens[position]
                row = first + position - start - 1
                logprobs = Logprobs(*measure.of(self._context, row, token))
                request.consumer.prompt_token(token, logprobs)
                request.n_measured += 1


def _ids(request: Request) -> npt.NDArray[np.int32]:
    import numpy as np

    return np.array(request.ids, np.int32)
