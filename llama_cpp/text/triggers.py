"""Triggers: from where on a text has to follow a grammar, found while it is being written."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .stops import StopFinder, StopStrings

# Patterns look back this far; those in use match a few words.
_LOOK_BACK = 512


class Triggers:
    """What sets off a grammar.

    Args:
        words: Texts.
        patterns: Regular expressions, over the text so far; the grammar begins with the first group
            that matched, or with the match.
    """

    def __init__(self, words: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        self.words = StopStrings(words)
        self.patterns = [re.compile(pattern) for pattern in patterns]


class TriggerFinder:
    """Follows one text. A piece costs the same at its end as at its beginning.

    Args:
        triggers: What to find.
    """

    def __init__(self, triggers: Triggers) -> None:
        self._finder = StopFinder(triggers.words)
        self._patterns = triggers.patterns
        self._recent = ""

    def feed(self, text: str) -> str | None:
        """Take more of the text.

        Returns:
            What the grammar begins with, once a trigger came: its text, and what followed it.
        """
        before = self._finder.held
        self._finder.feed(text)
        if (word := self._finder.found) is not None:
            whole = before + text
            return whole[whole.index(word) :]
        if self._patterns:
            self._recent += text
            for pattern in self._patterns:
                if found := pattern.search(self._recent):
                    groups = [number for number, group in enumerate(found.groups(), 1) if group]
                    return self._recent[found.start(groups[0] if groups else 0) :]
            if len(self._recent) > 2 * _LOOK_BACK:
                # Something comes before it, so that nothing matches the beginning any more.
                self._recent = "\0" + self._recent[-_LOOK_BACK:]
        return None
