"""What one step computes: decoding first, prompts with the rest of the batch. Pure Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .adapter_spans import end_of
from .media import text_after
from .slots import Slot
from .waiting import rank


class Chunk(NamedTuple):
    """``n_tokens`` tokens of a slot, and its drafts, from the first that is not cached on.

    ``outputs``: the logits after all of them are wanted, not only those after the end.
    """

    slot: Slot
    n_tokens: int
    outputs: bool


def plan(
    slots: Sequence[Slot], budget: int, n_outputs: int, *, checkpoints: bool = False
) -> list[Chunk]:
    """Choose what the next batch holds.

    Args:
        slots: Those that are computed with the same adapters now.
        budget: How many tokens fit.
        n_outputs: How many rows of logits fit, at least one per slot.
        checkpoints: Stop before the last token of a prompt, where the memory is saved.

    Returns:
        No two chunks of the same slot; empty if nothing is left to do.
    """
    spare = n_outputs - len(slots)
    chunks: list[Chunk] = []
    prompts: list[Slot] = []
    for slot in slots:
        if slot.request is None:
            continue
        if len(slot.tokens) - slot.n_cached > 1:
            prompts.append(slot)
        elif budget > 0:
            if slot.drafts:
                del slot.drafts[max(0, min(budget - 1, spare)) :]
            count = 1 + len(slot.drafts)
            chunks.append(Chunk(slot, count, count > 1))
            budget -= count
            spare -= count - 1
    if prompts:
        prompts.sort(key=_rank)
    for slot in prompts:
        if budget <= 0:
            break
        assert slot.request is not None
        pending = len(slot.tokens) - slot.n_cached
        media = slot.request.media
        text = text_after(media, slot.n_cached, len(slot.tokens)) if media else pending
        if not text:
            continue
        if len(slot.spans) > 1:
            text = min(text, end_of(slot.spans, slot.n_cached) - slot.n_cached)
        outputs = slot.request.prompt_logprobs and slot.n_cached < slot.request.n_prompt - 1
        before = slot.request.measured_from - 1 - slot.n_cached
        if before > 0:  # the logits that are wanted come in chunks of their own
            text, outputs = min(text, before), False
        count = min(text, budget, 1 + spare if outputs else pending)
        if checkpoints and count == pending:
            count -= 1
        chunks.append(Chunk(slot, count, outputs))
        budget -= count
        spare -= count - 1 if outputs else 0
    return chunks


def youngest(chunks: Sequence[Chunk]) -> Slot:
    """Return the slot whose request came last, of those of the lowest priority.

    It loses least when it has to start over.
    """
    return max((chunk.slot for chunk in chunks), key=_rank)


def _rank(slot: Slot) -> tuple[int, int]:
    return rank(slot.request) if slot.request is not None else (0, 0)


def rooms_for_drafts(slots: Sequence[Slot], most: int, n_ctx: int) -> list[tuple[Slot, int]]:
    """Return which slots have use for guesses of the tokens that follow, and for how many.

    Args:
        slots: Those of the next batch.
        most: How many guesses one may have.
        n_ctx: How many tokens go into a sequence.
    """
    rooms: list[tuple[Slot, int]] = []
    for slot in slots:
        request = slot.request
        if request is None or request.has_hooks or len(slot.tokens) - slot.n_cached != 1:
            continue
        room = min(
            most,
            request.max_tokens - request.n_generated - 1,
            n_ctx - len(slot.tokens) - request.n_extra - 1,
        )
        if room > 0:
            rooms.append((slot, room))
    return rooms
