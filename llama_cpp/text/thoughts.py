"""Thoughts: where in a reply they are, and how many tokens they have."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from .stops import StopFinder, StopStrings
from .utf8 import Utf8Decoder


@dataclass(frozen=True)
class ThoughtTags:
    """How replies to one prompt write thoughts.

    Attributes:
        start: What a thought begins with.
        ends: What ends it; the first is what the template itself writes.
        begun: What the prompt has of the reply already.
        message_start: What the messages of an assistant begin with, where a reply has several.
    """

    start: str
    ends: Sequence[str]
    begun: str = ""
    message_start: str = ""


class ThoughtFinder:
    """Follows one reply.

    A thought begins where nothing but white space came since the beginning, or since the last
    thought. What looks like one later on is content, as it is for the engine's parsers.

    Args:
        tags: How thoughts are written.
    """

    def __init__(self, tags: ThoughtTags) -> None:
        self._tags = tags
        self._ends = StopStrings(tags.ends)
        self._decoder = Utf8Decoder()
        self._end: StopFinder | None = None
        self._head: str | None = ""
        # Lengths of the tokens that may turn out to be a part of the end.
        self._pending: deque[int] = deque()
        self._n_settled = 0
        _, found, after = tags.begun.rpartition(tags.start)
        if found:
            self._end = StopFinder(self._ends)
            self._feed(after)

    @property
    def is_open(self) -> bool:
        """Whether a thought has begun and not ended."""
        return self._end is not None

    @property
    def n_tokens(self) -> int:
        """The tokens of thoughts so far, without what begins and ends them."""
        return self._n_settled + len(self._pending)

    @property
    def held(self) -> str:
        """What may be the beginning of an end."""
        return "" if self._end is None else self._end.held

    @property
    def is_whole(self) -> bool:
        """Whether the text ends with a whole character."""
        return not self._decoder.held

    def add(self, piece: bytes) -> str:
        """Take a token's bytes; return what of the text is no thought; tags are none."""
        text = self._decoder.feed(piece)
        if self._end is not None:
            self._pending.append(len(text))
        return self._feed(text)

    def _feed(self, text: str) -> str:
        outside = ""
        while True:
            if self._end is None:
                thought = self._look_for_start(text)
                if thought is None:
                    return outside + text
                outside += text.removesuffix(thought)
                text, self._end = thought, StopFinder(self._ends)
            whole = self._end.held + text
            self._end.feed(text)
            found = self._end.found
            if found is None:
                self._settle(len(self._end.held))
                return outside
            text = whole[whole.index(found) + len(found) :]
            self._settle(len(found) + len(text), cuts=True)
            outside += found
            self._end, self._head = None, ""

    def _look_for_start(self, text: str) -> str | None:
        """Take text that is no thought; return what of it is one that begins."""
        if self._head is None:
            return None
        start, before = self._tags.start, self._tags.message_start
        self._head = head = (self._head + text).lstrip()
        head = head.removeprefix(before).lstrip()
        if head.startswith(start):
            return head[len(start) :]
        if not start.startswith(head) and not before.startswith(self._head):
            self._head = None
        return None

    def _settle(self, n_left: int, *, cuts: bool = False) -> None:
        """Count the tokens before the last characters; ``cuts`` says that those are no thought."""
        n_before = sum(self._pending) - n_left
        while self._pending and (n_before > 0 if cuts else n_before >= self._pending[0]):
            n_before -= self._pending.popleft()
            self._n_settled += 1
        if cuts:
            self._pending.clear()
