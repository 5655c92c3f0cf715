"""``PromptCache``: the cache that completions begin from and leave their states in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine import Engine
from ..engine.adapter_spans import AdapterSet, spans_of
from ..errors import InvalidArgumentError
from .fingerprint import Fingerprints
from .state_exchange import StateExchange


class PromptCache:
    """Goes between the slots of an engine and a cache of states, if there is one.

    States are kept after a reply was handed out, so that it does not wait for that.

    Args:
        engine: Its prompts begin with states from the cache.
        fingerprints: Tell the states of one model from those of another.
    """

    def __init__(self, engine: Engine, fingerprints: Fingerprints) -> None:
        self.store: Any = None
        self._engine = engine
        self._exchange = StateExchange(engine, engine.context, fingerprints.of)

    def set(self, store: Any) -> None:
        """Take another cache, or None; the one before gets what the last replies left.

        Raises:
            InvalidArgumentError: It is no cache.
        """
        methods = ("__getitem__", "__setitem__", "cache_size")
        if store is not None and not all(hasattr(type(store), name) for name in methods):
            raise InvalidArgumentError(
                f"cache={store!r} must be a cache of states, such as LlamaRAMCache(), or None"
            )
        self.finish()
        self.store = store
        if store is not None:
            self._exchange.begin()

    def restore(self, prompt: Sequence[int], adapters: AdapterSet | None = None) -> None:
        """Let a prompt begin with what the cache holds of it, if that is more.

        Args:
            prompt: Token ids.
            adapters: What they are computed with; None for the model's own.
        """
        if self.store is not None:
            chosen = self._engine.adapters.default if adapters is None else adapters
            self._exchange.restore(self.store, prompt, spans_of(prompt, chosen))

    def save(self) -> None:
        """Put what replies have left into the cache, in time."""
        if self.store is not None:
            self._exchange.save(self.store)

    def finish(self) -> None:
        """Put it there now."""
        if self.store is not None:
            self._exchange.finish(self.store)
