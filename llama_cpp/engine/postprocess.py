"""``Postprocessor``: the tokens and log-probabilities that a decoded batch gives."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ..errors import LlamaError
from ..handles import Context
from ..handles.token_sampler import RowSampler, TokenSampler
from .finishing import Finisher
from .request import Logprobs, Request
from .scheduler import Chunk
from .sequences import Sequences
from .slots import Slot


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

    def commit(self, chunks: Sequence[Chunk]) -> None:
        """Hand out what a batch gave that was decoded."""
        chosen = self._choose_plain(chunks) if len(chunks) > 1 else {}
        index = 0
        for slot, count, outputs in chunks:
            request = slot.request
            assert request is not None
            first = index
            index += count
            n_drafts = len(slot.drafts)
            slot.n_cached += count - n_drafts
            try:
                if request.prompt_logprobs and not request.n_measured:
                    # Nothing comes before the first token, so nothing predicts it.
                    request.consumer.prompt_token(slot.tokens[0], None)
                    request.n_measured = 1
                if outputs and not n_drafts:
                    self._commit_prompt(slot, request, first, count)
                if slot.n_cached == len(slot.tokens):
                    self._next_tokens(slot, request, index - 1 - n_drafts, chosen.get(slot.id))
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
        ids: list[int] = []
        indices: list[int] = []
        samplers: list[TokenSampler] = []
        index = -1
        for slot, count, _ in chunks:
            index += count
            request = slot.request
            if request is None or request.has_hooks or slot.drafts or not request.max_tokens:
                continue
            if request.forced:
                continue
            if slot.n_cached + count == len(slot.tokens):
                ids.append(slot.id)
                indices.append(index)
                samplers.append(request.sampler)
        tokens = self._row_sampler.sample(self._context, samplers, indices)
        return dict(zip(ids, tokens, strict=True))

    def _next_tokens(
        self, slot: Slot, request: Request, index: int, chosen: int | LlamaError | None
    ) -> None:
        """Take the token after row ``index``, and one more for each draft that was right."""
        if isinstance(chosen, LlamaError):
            raise chosen
        if request.max_tokens == 0:
            self._finisher.finish(slot, "length")
            return
        drafts, slot.drafts = slot.drafts, []
        before = request.n_accepted
        for draft in (*drafts, None):
            token = self._choose(request, index) if chosen is None else chosen
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
        """Take the tokens that have to follow; the next step computes them together."""
        while request.forced:
            if not self._take(slot, request, request.next_forced(), -1):
                return
        for token in request.sampler.forced():
            request.sampler.accept(token)
            if not self._take(slot, request, token, -1):
                return

    def _choose(self, request: Request, index: int) -> int | None:
        """Return the next token, or None if a stopping criterion says so."""
        if request.forced:
            return request.next_forced()
        if not request.has_hooks:
            return request.sampler.sample(self._context, index)
        import numpy as np

        row = self._context.logits(index)
        ids = np.array(request.ids, np.int32)
        if request.processor is not None:
            row = request.processor(ids, row)
        if request.stopping is not None and request.stopping(ids, row):
            return None
        return request.sampler.sample_row(row)

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
            if not self._shifts or request.media:
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
