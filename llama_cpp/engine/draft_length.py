"""``DraftLength``: how many tokens of a text to guess, by how many were right. Pure Python."""

from __future__ import annotations

LENGTH_MAX = 12
"""How many tokens are guessed at most."""

_COST = 1 / 3
"""What checking one more token costs, in decodes: measured on processors, for small models. It is
no clock's, so that the same call gives the same batches, and to the last bit the same logits."""
_PAUSE_MIN, _PAUSE_MAX = 8, 128


class DraftLength:
    """How much to guess in one text: more while it is right, nothing for a while when it is not.

    The length is that with the largest expected gain for the share of tokens that were right
    (Leviathan 2023, https://arxiv.org/abs/2211.17192, theorem 3.8).
    """

    def __init__(self) -> None:
        self._rate = 0.7
        self._pause = 0
        self._next_pause = _PAUSE_MIN

    def wanted(self) -> int:
        """Return how many tokens to guess now."""
        if self._pause:
            self._pause -= 1
            return 0
        best, length, decoded = 1.0, 0, 1.0
        for count in range(1, LENGTH_MAX + 1):
            decoded += self._rate**count
            if (gain := decoded / (1 + _COST * count)) < best:
                break
            best, length = gain, count
        return length

    def learn(self, n_drafted: int, n_accepted: int) -> None:
        """Know how many of a guess's tokens were right."""
        n_seen = min(n_accepted + 1, n_drafted)  # those after a wrong one say nothing
        memory = 0.75**n_seen
        self._rate = self._rate * memory + n_accepted / n_seen * (1 - memory)
        if n_accepted == n_drafted:
            self._next_pause = _PAUSE_MIN
        elif self._rate < _COST:
            self._pause, self._rate = self._next_pause, 0.5
            self._next_pause = min(2 * self._next_pause, _PAUSE_MAX)
