"""``Adapters``: the LoRA adapters of a context, and whose turn it is."""

from __future__ import annotations

from collections.abc import Sequence

from ..handles import Context
from .adapter_spans import AdapterSet, adapters_at, spans_of
from .slots import Slot

_TURN = 8
"""Steps with the same adapters while others wait: another set makes a step longer."""


class Adapters:
    """The adapters of a context: one set of them counts in each step.

    Args:
        context: Nobody else sets its adapters.
        default: What counts where a request does not say anything else.
    """

    def __init__(self, context: Context, default: AdapterSet = ()) -> None:
        self._context = context
        self.default = default
        self._current: AdapterSet = ()
        self._n_steps = 0
        self.apply(adapters_at(spans_of((), default), 0))

    def turn(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """Return the slots that go on in the next step: those of one set, each in its turn."""
        sets = list(
            dict.fromkeys(
                adapters_at(slot.spans, slot.n_cached) for slot in slots if slot.request is not None
            )
        )
        if len(sets) < 2:
            return slots
        self._n_steps += 1
        if self._current not in sets:
            self._current, self._n_steps = sets[0], 0
        elif self._n_steps >= _TURN:
            self._current = sets[(sets.index(self._current) + 1) % len(sets)]
            self._n_steps = 0
        return [
            slot
            for slot in slots
            if slot.request is not None and adapters_at(slot.spans, slot.n_cached) == self._current
        ]

    def apply(self, adapters: AdapterSet) -> None:
        """Compute with these from now on.

        Raises:
            ClosedError: One of them was unloaded.
        """
        if adapters != self._context.adapters:
            self._context.set_adapters(adapters)
