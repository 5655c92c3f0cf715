"""``Slot``: one sequence of the context, and which slot a prompt goes to. Pure Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .adapter_spans import EVERYTHING, PLAIN, Spans, agreement
from .request import Request


class Checkpoint(NamedTuple):
    """What a memory that cannot be rewound was after its first ``n_tokens`` tokens."""

    n_tokens: int
    state: bytes


@dataclass(eq=False)
class Slot:
    """A sequence id, and what is known of its memory.

    Attributes:
        id: The sequence id.
        tokens: What the sequence consists of, remembered or still to be computed.
        n_cached: How many of them the memory holds.
        request: Who uses it.
        last_used: Higher is more recent.
        checkpoints: In ascending order.
        drafts: Guesses of the tokens that follow.
        spans: The adapters that the tokens are computed with.
        n_exact: After a context shift, how many tokens came before what was dropped.
        short_end: After an image whose cells are all at the position of its beginning (M-RoPE):
            how many tokens the memory held then, and how many it says that it held.
    """

    id: int
    tokens: list[int] = field(default_factory=list)
    n_cached: int = 0
    request: Request | None = None
    last_used: int = 0
    checkpoints: list[Checkpoint] = field(default_factory=list)
    drafts: list[int] = field(default_factory=list)
    spans: Spans = PLAIN
    n_exact: int = EVERYTHING
    short_end: tuple[int, int] = (0, 0)

    @property
    def cached(self) -> list[int]:
        """The tokens that the memory holds as if it had seen nothing else."""
        return self.tokens[: min(self.n_cached, self.n_exact)]

    def shared(self, prompt: Sequence[int], spans: Spans) -> int:
        """How many tokens of a prompt the memory holds."""
        return min(shared_prefix(self.cached, prompt), agreement(self.spans, spans))

    def coming(self, prompt: Sequence[int], spans: Spans) -> int:
        """How many tokens of a prompt the memory will hold, if it is computing more of it now."""
        if self.request is None or self.request.n_prompt <= self.n_cached:
            return 0
        shared = shared_prefix(self.tokens[: self.request.n_prompt], prompt)
        return min(shared, agreement(self.spans, spans))


class Placement(NamedTuple):
    """Where a prompt goes: to ``slot``, with the first ``n_shared`` tokens of ``source``."""

    slot: Slot
    source: Slot
    n_shared: int


def shared_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with in common.

    Slices compare at the speed of C, so a binary search over them is faster than a loop, and with
    as few slots as there are sequences nothing needs an index.
    """
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def place(
    slots: Iterable[Slot],
    prompt: Sequence[int],
    spans: Spans = PLAIN,
    *,
    patient: bool = False,
) -> Placement | None:
    """Choose a slot for a prompt.

    A slot that nobody uses and that holds a beginning of the prompt goes on from there. If a busy
    one holds more of it, or the slot holds much that another prompt may want, that beginning is
    copied to the slot that was used longest ago.

    Args:
        slots: All of them.
        prompt: What it begins with, as far as that may be shared.
        spans: The adapters that it is computed with.
        patient: Wait for all that another one is computing, and not for the most of it only: who
            comes first does not matter.

    Returns:
        None if the prompt should wait: every slot is busy, or one of them is computing just what
        this prompt begins with.
    """
    slots = list(slots)
    free = [slot for slot in slots if slot.request is None]
    if not free:
        return None
    # The last token is computed in any case: its logits are wanted.
    wanted = prompt[:-1]
    shared = {slot.id: slot.shared(wanted, spans) for slot in slots}
    oldest = min(free, key=lambda slot: (slot.n_cached > 0, slot.last_used))
    best = max(slots, key=lambda slot: (shared[slot.id], slot.request is None, slot.last_used))
    n_shared = shared[best.id]
    for slot in slots:
        enough = (
            max(n_shared, 1) if patient else 2 * n_shared + _TOKENS_WORTH_WAITING
        )  # BOS is in all
        if slot.coming(wanted, spans) > enough:
            return None
    if n_shared == 0:
        return Placement(oldest, oldest, 0)
    keeps_much = n_shared < best.n_cached // 2 and oldest.n_cached == 0
    if best.request is None and not keeps_much:
        return Placement(best, best, n_shared)
    return Placement(oldest, best, n_shared)


_TOKENS_WORTH_WAITING = 32
"""So many tokens are worth waiting for."""
