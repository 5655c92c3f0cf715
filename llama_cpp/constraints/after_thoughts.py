"""``AfterThoughts``: a constraint of the reply that comes when the model has thought."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

from ..handles import Model, Sampler, Vocab
from ..handles.matcher import Matcher
from ..text import ThoughtTags
from .constraint import Constraint
from .spelling import spelled

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SPACES_MAX = 8
"""How many tokens of white space may come before the reply: a model may write more for ever."""


class _Place(Enum):
    BEFORE = auto()
    """Of the reply, or of a thought if there was none yet."""
    IN_START = auto()
    """In what a thought begins with."""
    IN_THOUGHT = auto()
    IN_REPLY = auto()


class AfterThoughts:
    """Lets a thought come first, and then what another constraint allows.

    Args:
        constraint: What the reply itself has to look like.
        tags: How thoughts are written, and what the prompt has of them already.
        may_think: Whether there may be one that the prompt has not begun.
    """

    def __init__(self, constraint: Constraint, tags: ThoughtTags, *, may_think: bool) -> None:
        self._constraint = constraint
        self._tags = tags
        self._may_think = may_think

    def begin(self, model: Model) -> Sampler | Matcher:
        """Return its state at the end of the prompt.

        Raises:
            GrammarError: The constraint does not compile.
        """
        reply = self._constraint.begin(model)
        if isinstance(reply, Sampler):  # the engine's own grammars have no thoughts before them
            return reply
        return _ThoughtFirst(reply, model.vocab, self._tags, self._may_think)


class _ThoughtFirst:
    """The state in one text: see ``Matcher``."""

    def __init__(self, reply: Matcher, vocab: Vocab, tags: ThoughtTags, may_think: bool) -> None:
        self._reply = reply
        self._vocab = vocab
        self._start = tags.start.encode()
        self._ends = [end.encode() for end in tags.ends]
        _, begun, after = tags.begun.rpartition(tags.start)
        self._text = after.encode()
        is_open = bool(begun) and not any(end in after for end in tags.ends)
        self._place = _Place.IN_THOUGHT if is_open else _Place.BEFORE
        # The tokens that begin a thought, one after another; no other way of writing it is allowed.
        self._starting = spelled(vocab, tags.start) if may_think and not begun else []
        self._n_spaces = 0
        self._refused: set[int] = set()
        self._words: npt.NDArray[np.uint32] | None = None

    def accept(self, token: int) -> bool:
        """Take a token; False, and nothing has changed, if it is not allowed here."""
        if self._place is _Place.IN_REPLY:
            return self._reply.accept(token)
        if self._vocab.is_eog(token):
            return False
        if self._place is _Place.IN_THOUGHT:
            return self._think(token)
        if self._starting and token == self._starting[0]:
            del self._starting[0]
            self._place = _Place.IN_START if self._starting else _Place.IN_THOUGHT
            return True
        if self._place is _Place.IN_START:
            return False
        piece = self._vocab.token_to_piece(token)
        if piece and not piece.strip() and self._n_spaces < _SPACES_MAX:
            self._n_spaces += 1
            return True
        if not self._reply.accept(token):
            return False
        self._place = _Place.IN_REPLY
        return True

    def _think(self, token: int) -> bool:
        text = self._text + self._vocab.token_to_piece(token, special=True)
        for end in self._ends:
            _, found, after = text.partition(end)
            if found:
                if after.strip():  # the reply begins in a token of its own
                    self._refused.add(token)
                    return False
                self._place = _Place.BEFORE
                self._starting = []
                return True
        self._text = text[-max(map(len, self._ends)) :]
        self._refused.clear()
        return True

    def mask(self) -> int:
        """The address of a bit for each token that is allowed."""
        if self._place is _Place.IN_REPLY:
            return self._reply.mask()
        words = self._masked()
        address: int = words.ctypes.data
        return address

    def _masked(self) -> npt.NDArray[np.uint32]:
        import ctypes

        import numpy as np

        n_words = -(-self._vocab.n_tokens // 32)
        if self._words is None:
            self._words = np.zeros(n_words, np.uint32)
        words = self._words
        if self._place is _Place.IN_THOUGHT:
            words[:] = 0xFFFFFFFF
            for token in (*self._refused, *self._vocab.eog_tokens):
                words[token // 32] &= ~np.uint32(1 << token % 32)
            return words
        words[:] = 0
        if self._place is _Place.BEFORE:
            words[:] = (ctypes.c_uint32 * n_words).from_address(self._reply.mask())
        for token in self._starting[:1]:
            words[token // 32] |= np.uint32(1 << token % 32)
        return words

    def n_allowed(self, tokens: Sequence[int]) -> int:
        """How many of these tokens may follow, as far as that is known."""
        return (
            self._reply.n_allowed(tokens) if self._place is _Place.IN_REPLY else len(tokens)
        )  # each is checked again when it is chosen

    def forced(self) -> Sequence[int]:
        """The tokens that have to follow."""
        if self._place is _Place.IN_START:
            return tuple(self._starting)
        return self._reply.forced() if self._place is _Place.IN_REPLY else ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing can follow but the end of the text."""
        return self._place is _Place.IN_REPLY and self._reply.is_complete
