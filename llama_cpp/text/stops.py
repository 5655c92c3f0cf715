"""Stop strings: where a text has to end, found while it is being written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..errors import InvalidArgumentError


class StopStrings:
    """The stop strings of a request, as an automaton (Aho and Corasick 1975).

    Its state is the longest end of the text so far that some stop string begins with. So each
    character is looked at once, however long the strings are and however the text is cut.

    Args:
        stops: The strings, none of them empty.

    Raises:
        InvalidArgumentError: One is empty, or not a string.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        stops = tuple(stops)
        for stop in stops:
            if not isinstance(stop, str) or not stop:
                raise InvalidArgumentError(
                    f"a stop string is {stop!r}, but each must be a text of at least one character"
                )
        self.stops = tuple(dict.fromkeys(stops))
        self._next: list[dict[str, int]] = [{}]
        self._depth = [0]
        self._stop: list[str | None] = [None]
        for stop in self.stops:
            self._add(stop)
        self._fallback = self._link()

    def __bool__(self) -> bool:
        return bool(self.stops)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StopStrings) and self.stops == other.stops

    def __hash__(self) -> int:
        return hash(self.stops)

    def _add(self, stop: str) -> None:
        state = 0
        for character in stop:
            if character not in self._next[state]:
                self._next[state][character] = len(self._next)
                self._next.append({})
                self._depth.append(self._depth[state] + 1)
                self._stop.append(None)
            state = self._next[state][character]
        self._stop[state] = stop

    def _link(self) -> list[int]:
        fallback = [0] * len(self._next)
        waiting = deque(self._next[0].values())
        while waiting:
            state = waiting.popleft()
            for character, child in self._next[state].items():
                fallback[child] = self.step(fallback[state], character, fallback)
                waiting.append(child)
            if self._stop[state] is None:
                self._stop[state] = self._stop[fallback[state]]
        return fallback

    def step(self, state: int, character: str, fallback: list[int] | None = None) -> int:
        """Return the state after one more character."""
        links = self._fallback if fallback is None else fallback
        while character not in self._next[state] and state:
            state = links[state]
        return self._next[state].get(character, 0)

    def found(self, state: int) -> str | None:
        """Return the longest stop string that ends in this state."""
        return self._stop[state]

    def depth(self, state: int) -> int:
        """Return how many characters may still become a stop string."""
        return self._depth[state]


class StopFinder:
    """Follows one text and says what of it may be shown.

    Args:
        stops: What ends it.
    """

    def __init__(self, stops: StopStrings) -> None:
        self._stops = stops
        self._state = 0
        self._held = ""
        self.found: str | None = None
        """The stop string that ended the text."""

    @property
    def held(self) -> str:
        """What was fed and may not be shown yet."""
        return self._held

    def feed(self, text: str) -> str:
        """Return what may be shown now: all but what a stop string may begin with.

        The text ends before the first stop string that is complete; what comes after it is lost.
        """
        if self.found is not None or not self._stops:
            return "" if self.found is not None else text
        state, step, found = self._state, self._stops.step, self._stops.found
        for index, character in enumerate(text):
            state = step(state, character)
            self.found = found(state)
            if self.found is not None:
                whole = self._held + text[: index + 1]
                self._held = ""
                return whole[: -len(self.found)]
        self._state = state
        whole = self._held + text
        shown = len(whole) - self._stops.depth(state)
        self._held = whole[shown:]
        return whole[:shown]

    def finish(self) -> str:
        """Return what was held back: at the end of the text it is no stop string."""
        held, self._held = self._held, ""
        return held
