"""``Matcher``: what one text may go on with, asked token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Matcher(Protocol):
    """The state of a constraint in one text.

    A grammar of the engine is a sampler instead, which the native code asks.
    """

    def accept(self, token: int) -> bool:
        """Take a token; False, and nothing has changed, if it is not allowed here."""

    def mask(self) -> int:
        """The address of a bit for each token, set if it is allowed: 32 of them in a uint32.

        It is valid until the next call.
        """

    def n_allowed(self, tokens: Sequence[int]) -> int:
        """How many of these tokens may follow, one after another."""

    def forced(self) -> Sequence[int]:
        """The tokens that have to follow; none where there is a choice."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing can follow but the end of the text."""
