"""``MediaEvaluator``: evaluates the images and sounds of prompts, one at a time."""

from __future__ import annotations

from ..handles import Context
from .media import PlacedMedia, media_at
from .sequences import Sequences
from .slots import Slot


class MediaEvaluator:
    """Knows which slots have prompts with images and sounds.

    Args:
        context: What they are evaluated with.
        sequences: Its memory.
    """

    def __init__(self, context: Context, sequences: Sequences) -> None:
        self._context = context
        self._sequences = sequences
        self.slots: list[Slot] = []
        """Whose prompts have some: the memory may lose even those that it has seen."""

    def add(self, slot: Slot) -> None:
        """Watch a slot whose prompt has some."""
        if slot not in self.slots:
            self.slots.append(slot)

    def due(self) -> Slot | None:
        """Return a slot whose prompt goes on with one, if there is any."""
        for slot in tuple(self.slots):
            media = slot.request.media if slot.request is not None else ()
            if not media:
                self.slots.remove(slot)
            elif slot.n_cached < media[-1].end and media_at(media, slot.n_cached) is not None:
                self.slots.remove(slot)  # to its end: the others come first next time
                self.slots.append(slot)
                return slot
        return None

    def evaluate(self, slot: Slot) -> None:
        """Evaluate the image or sound that comes next in a slot.

        Raises:
            LlamaError: What ``MediaChunk.decode`` raises.
        """
        placed = self._next(slot)
        placed.media.decode(self._context, placed.start, slot.id)
        slot.n_cached = placed.end
        if slot.request is not None:
            slot.request.reach(slot.n_cached)
        self._sequences.remember_end(slot)
        if self._sequences.needs_checkpoints and len(slot.tokens) - slot.n_cached == 1:
            self._sequences.save(slot)

    def _next(self, slot: Slot) -> PlacedMedia:
        assert slot.request is not None
        placed = media_at(slot.request.media, slot.n_cached)
        assert placed is not None
        return placed
