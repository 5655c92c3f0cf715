"""``TextBuilder``: the text of one request, as its tokens come."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from .pieces import Pieces
from .stops import StopFinder, StopStrings
from .utf8 import Utf8Decoder


class TokenRecord(NamedTuple):
    """A token with its log-probability, where its text begins, in characters, and its trace."""

    token: int
    logprob: float | None
    top: list[tuple[int, float]] | None
    offset: int
    trace: Any = None


class TextBuilder:
    """Turns tokens into text that may be shown, up to a stop string.

    Args:
        pieces: What the tokens say.
        stops: What ends the text.
        keeps_records: Whether to keep the log-probabilities and traces of the tokens.
    """

    def __init__(self, pieces: Pieces, stops: StopStrings, keeps_records: bool) -> None:
        self._pieces = pieces
        self._decoder = Utf8Decoder()
        self._is_partial = False
        self._finder = StopFinder(stops) if stops else None
        self._keeps_records = keeps_records
        self._held: deque[tuple[TokenRecord, int]] = deque()
        self._n_decoded = self._n_shown = 0
        self.parts: deque[tuple[str, list[TokenRecord]]] = deque()
        """What may be shown and was not taken yet, with the tokens whose text is complete."""

    @property
    def stopped(self) -> bool:
        """Whether a stop string came."""
        return self.stop_string is not None

    @property
    def stop_string(self) -> str | None:
        """The stop string that came."""
        return self._finder.found if self._finder is not None else None

    def add(
        self,
        token: int,
        logprob: float | None,
        top: list[tuple[int, float]] | None,
        trace: Any = None,
    ) -> bool:
        """Take a token; return whether a stop string is complete."""
        piece, text = self._pieces[token]
        if text is None or self._is_partial:
            text = self._decoder.feed(piece)
            self._is_partial = self._decoder.held > 0
        if self._keeps_records:
            record = TokenRecord(token, logprob, top, self._n_decoded, trace)
            self._n_decoded += len(text)
            # The text of a token is complete with the character that the next one may end.
            self._held.append((record, self._n_decoded + self._is_partial))
        elif self._finder is None:
            if text:
                self.parts.append((text, []))
            return False
        self._show(text)
        return self.stopped

    def finish(self) -> None:
        """Know that no more tokens come."""
        text = ""
        if not self.stopped:
            text = self._decoder.finish()
            if self._finder is not None:
                text = self._finder.feed(text) + self._finder.finish()
            self._n_shown += len(text)
        # What began before a stop string is part of the text.
        records = [
            record
            for record, end in self._held
            if not self.stopped or record.offset < self._n_shown or end <= self._n_shown
        ]
        self._held.clear()
        if text or records:
            self.parts.append((text, records))

    def _show(self, text: str) -> None:
        shown = text if self._finder is None else self._finder.feed(text)
        self._n_shown += len(shown)
        records: list[TokenRecord] = []
        while self._held and self._held[0][1] <= self._n_shown and not self.stopped:
            records.append(self._held.popleft()[0])
        if shown or records:
            self.parts.append((shown, records))
