"""Work on sequence 0 by hand: ``eval``, ``sample``, ``scores`` and the like of ``Llama``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..constraints.gbnf import LlamaGrammar
from ..constraints.grammar_sampler import begun
from ..engine import Engine
from ..engine.adapter_spans import agreement, continued, spans_of
from ..engine.slots import shared_prefix
from ..errors import ContextWindowError, InvalidArgumentError
from ..handles import Batch, Context
from ..handles.token_sampler import TokenSampler
from ..sampling.chain import token_sampler
from ..sampling.hooks import LogitsProcessorList, StoppingCriteriaList
from ..sampling.params import SamplingParams
from ..validation.native_arguments import INT32_MAX, token_array
from ..validation.numbers import integer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass
class Step:
    """One step of generating by hand.

    Attributes:
        before: What the sequence should hold.
        tokens: What to append.
        last_used: When a completion last used the sequence that holds it.
    """

    before: list[int]
    tokens: list[int]
    last_used: int


class ManualSequence:
    """The tokens of sequence 0 and their logits.

    Args:
        engine: Its slot 0 is the sequence.
        context: What it decodes with.
        logits_all: Whether to keep the logits of every token.
    """

    def __init__(self, engine: Engine, context: Context, *, logits_all: bool) -> None:
        self._engine = engine
        self._context = context
        self._logits_all = logits_all
        self._slot = engine.slots[0]
        self._rows: list[npt.NDArray[np.float32]] = []
        self._assigned: npt.NDArray[np.float32] | None = None
        self._last: npt.NDArray[np.float32] | None = None
        self._in_context = False
        """Whether the context's last row is that after the last token."""
        self._last_used = self._slot.last_used

    @property
    def n_tokens(self) -> int:
        """How many tokens the sequence holds."""
        self._engine.check_open()
        return self._slot.n_cached

    @n_tokens.setter
    def n_tokens(self, count: int) -> None:
        count = integer("n_tokens", count, 0, self._engine.n_ctx)
        with self.held():
            self._cut(count)

    def _cut(self, count: int) -> None:
        self._notice_completions()
        before = self.n_tokens
        self._engine.sequences.cut(self._slot, count)
        self._slot.tokens = self._slot.tokens[: self._slot.n_cached]
        if self.n_tokens < before:
            self._in_context, self._last = False, None
            if self._assigned is not None and len(self._assigned) < before:
                self._assigned = None
        del self._rows[self.n_tokens :]

    @property
    def tokens(self) -> list[int]:
        """The tokens that the sequence holds."""
        self._engine.check_open()
        return self._slot.tokens[: self._slot.n_cached]

    def assign_tokens(self, tokens: Sequence[int]) -> None:
        """Keep what the sequence has in common with these tokens, and forget the rest."""
        self.n_tokens = self._shared(list(tokens))

    def _shared(self, tokens: Sequence[int]) -> int:
        """How many tokens the sequence holds, with the adapters that ``eval`` computes with."""
        spans = spans_of(tokens, self._engine.adapters.default)
        return min(shared_prefix(self.tokens, tokens), agreement(self._slot.spans, spans))

    def eval(self, tokens: Sequence[int]) -> None:
        """Append tokens to the sequence.

        Raises:
            ContextWindowError: They do not fit.
            TokenError: An id is not in the vocabulary.
            BusyError: A completion of this thread uses the sequence.
        """
        ids = self._ids(tokens)
        with self.held():
            self._append(ids)

    def next_token(
        self, step: Step, sampler: TokenSampler, processor: Any, stopping: Any
    ) -> int | None:
        """Append tokens and choose the one after them, with nobody else in between.

        Args:
            step: What to append; if a completion has used the sequence, what it lost comes back.
            sampler: Chooses the token.
            processor: Changes the logits.
            stopping: Says from tokens and logits whether to stop.

        Returns:
            The token, or None if the criterion says so.
        """
        import numpy as np

        ids = self._ids(step.tokens)
        with self.held():
            slot = self._slot
            if step.last_used != slot.last_used:
                self._cut(self._shared(step.before))
                ids = step.before[slot.n_cached :] + ids
            self._append(ids)
            step.before += step.tokens
            step.last_used = slot.last_used
            token = self.sample(sampler, processor)
            if stopping is not None and stopping(
                np.array(self.tokens, np.intc), self.last_logits()
            ):
                return None
            return token

    def first_step(self, tokens: Sequence[int], *, reset: bool) -> Step:
        """Make the first step of generating, from scratch or from what the sequence holds."""
        if reset:
            return Step(list(tokens[:-1]), list(tokens[-1:]), -1)
        return Step(self.tokens, list(tokens), self._slot.last_used)

    def generate(
        self,
        tokens: Sequence[int],
        sampler_for: Callable[[Sequence[int]], TokenSampler],
        *,
        reset: bool,
        processor: Any = None,
        stopping: Any = None,
    ) -> Generator[int, Sequence[int] | None, None]:
        """Yield tokens that follow, without end; what is sent in is appended after the last one.

        Args:
            tokens: What to go on from.
            sampler_for: Makes what chooses the tokens, which knows the tokens before.
            reset: Whether the tokens are the whole sequence, else its next part.
            processor: Changes the logits.
            stopping: Says from tokens and logits whether to stop.

        Raises:
            ContextWindowError: The context is full.
            InvalidArgumentError: There are no tokens.
        """
        step = self.first_step(tokens, reset=reset)
        if not step.tokens:
            raise InvalidArgumentError("there are no tokens to go on from")
        if isinstance(stopping, list):
            stopping = StoppingCriteriaList(stopping)
        sampler = sampler_for([*step.before, *step.tokens])
        try:
            while True:
                token = self.next_token(step, sampler, processor, stopping)
                if token is None:
                    return
                sent = yield token
                step.tokens = [token, *(sent or ())]
        finally:
            sampler.close()

    def sampler(
        self, params: SamplingParams, grammar: LlamaGrammar | None, history: Sequence[int] | None
    ) -> TokenSampler:
        """Make what chooses tokens of the sequence.

        Args:
            params: How.
            grammar: What the text has to look like.
            history: The tokens before; None takes those of the sequence.
        """
        model = self._context.model
        constraint = None if grammar is None else begun(model, grammar)
        tokens = self.tokens if history is None else history
        return token_sampler(params, model, constraint=constraint, history=tokens)

    @property
    def input_ids(self) -> npt.NDArray[np.intc]:
        """The tokens: int32, shape (n_ctx,), 0 after those that the sequence holds."""
        import numpy as np

        ids = np.zeros(self._engine.n_ctx, np.intc)
        ids[: self.n_tokens] = self.tokens
        return ids

    def _ids(self, tokens: Sequence[int]) -> list[int]:
        ids: list[int] = token_array(tokens, self._context.model.n_vocab).tolist()
        return ids

    def _append(self, ids: Sequence[int]) -> None:
        slot, context = self._slot, self._context
        if slot.n_cached + len(ids) > self._engine.n_ctx:
            raise ContextWindowError(
                f"Requested tokens ({slot.n_cached + len(ids)}) exceed context window of "
                f"{self._engine.n_ctx}: create the model with a larger n_ctx",
                n_tokens=slot.n_cached + len(ids), n_ctx=self._engine.n_ctx,
            )  # fmt: skip
        self._notice_completions()
        if not ids:
            return
        self._assigned, self._last, self._in_context = None, None, False
        default = self._engine.adapters.default
        self._engine.adapters.apply(default)
        slot.spans = continued(slot.spans, slot.n_cached, default)
        size = min(context.n_batch, context.n_ubatch)
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            batch = Batch(len(part))
            batch.add_sequence(part, slot.n_cached, slot.id, output_all=self._logits_all)
            try:
                with self._engine.sequences.decoding((slot,)):
                    context.decode(batch)
            except BaseException:
                self._engine.sequences.repair(slot)
                raise
            slot.tokens = [*slot.tokens[: slot.n_cached], *part]
            slot.n_cached += len(part)
            if self._logits_all:
                del self._rows[slot.n_cached - len(part) :]
                self._rows += [context.logits(index) for index in range(len(part))]
        self._in_context = len(self._engine.slots) == 1
        if not self._in_context:  # the next decode may be that of another sequence
            self._last = context.logits(-1)

    def last_logits(self) -> npt.NDArray[np.float32]:
        """A copy of the logits after the last token, shape (n_vocab,).

        Raises:
            InvalidArgumentError: Nothing was evaluated since the end was cut off.
        """
        import numpy as np

        self._notice_completions()
        row: npt.NDArray[np.float32] | None = self._last if self.n_tokens else None
        if self._assigned is not None and self.n_tokens:
            row = self._assigned[min(self.n_tokens, len(self._assigned)) - 1]
        elif self._rows and len(self._rows) == self.n_tokens:
            row = self._rows[-1]
        elif self._in_context and self.n_tokens:
            return self._context.logits(-1)
        if row is None:
            raise InvalidArgumentError(
                "the logits after the last token are not known: evaluate a token first"
            )
        return np.array(row)

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Logits by position, shape (n_tokens, n_vocab).

        All of them with ``logits_all``, else only the last row, the others being 0.
        """
        import numpy as np

        self._notice_completions()
        if self._assigned is not None:
            return self._assigned
        # Zeroed pages cost nothing until they are written to.
        scores = np.zeros((max(self.n_tokens, 1), self._context.model.n_vocab), np.float32)
        if self._logits_all and len(self._rows) == self.n_tokens:
            for position, row in enumerate(self._rows):
                scores[position] = row
        elif self.n_tokens:
            with suppress(InvalidArgumentError):  # nothing was evaluated since it was cut off
                scores[-1] = self.last_logits()
        return scores

    @scores.setter
    def scores(self, scores: npt.NDArray[np.float32]) -> None:
        import numpy as np

        self._notice_completions()
        self._assigned = np.asarray(scores, np.float32)

    def eval_logits(self) -> deque[list[float]]:
        """Rows of logits, one with each token with ``logits_all``, else the last one."""
        scores = self.scores[: self.n_tokens]
        rows = scores if self._logits_all else scores[-1:]
        return deque([row.tolist() for row in rows], maxlen=self._engine.n_ctx)

    def sample(self, sampler: TokenSampler, processor: Any = None, idx: int | None = None) -> int:
        """Choose the token after the sequence, or after position ``idx`` of it."""
        import numpy as np

        self._notice_completions()
        if idx is not None:
            idx = integer("idx", idx, -INT32_MAX, INT32_MAX)
        if idx is not None and idx not in (-1, self.n_tokens - 1):
            row = self._row_at(idx)
        elif processor is None and self._assigned is None and self._in_context:
            return sampler.sample(self._context, -1)
        else:
            row = self.last_logits()
        if processor is not None:
            if not isinstance(processor, LogitsProcessorList):
                processor = LogitsProcessorList([processor])
            row = processor(np.array(self.tokens, np.intc), row)
        return sampler.sample_row(row)

    def _row_at(self, position: int) -> npt.NDArray[np.float32]:
        import numpy as np

        rows = self._rows if self._assigned is None else self._assigned
        if not 0 <= position < min(self.n_tokens, len(rows)):
            raise InvalidArgumentError(
                f"idx={position}: the logits after that token are not known; create the model with "
                "logits_all=True to keep those of every token"
            )
        return np.array(rows[position], np.float32)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the sequence for work by hand, after a completion of another thread has ended.

        Raises:
            BusyError: A completion of this thread uses it.
        """
        with self._engine.exclusive(self._slot):
            yield

    def forget(self) -> None:
        """Empty the sequence, which is held."""
        self._engine.sequences.clear(self._slot)
        self._slot.tokens = []
        self._rows.clear()
        self._assigned = self._last = None
        self._in_context = False

    def restore(self, tokens: list[int], scores: npt.NDArray[np.float32]) -> None:
        """Say what the memory of the sequence, which is held, was set to."""
        self._slot.tokens, self._slot.n_cached = tokens, len(tokens)
        self._assigned = scores if scores.size else None

    def last_row(self) -> npt.NDArray[np.float32]:
        """The logits after the last token: shape (1, n_vocab), or (0, n_vocab) without any."""
        import numpy as np

        try:
            return self.last_logits()[None]
        except InvalidArgumentError:
            return np.zeros((0, self._context.model.n_vocab), np.float32)

    def reset(self) -> None:
        """Forget the sequence."""
        self.n_tokens = 0

    def _notice_completions(self) -> None:
        """Forget the logits if a completion has used the sequence since."""
        if self._last_used != self._slot.last_used:
            self._last_used = self._slot.last_used
            self._rows.clear()
            self._assigned = self._last = None
            self._in_context = len(self._engine.slots) == 1
