"""``Thinking``: the thoughts of one text that is being written, and how much may be thought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..constraints.spelling import spelled
from ..errors import InvalidArgumentError
from ..handles import Vocab
from ..text import Pieces, ThoughtFinder, ThoughtTags
from ..validation.numbers import integer

EFFORTS: Mapping[str, int | None] = {
    "none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576, "xhigh": None,
    "max": None,
}  # fmt: skip
"""How many tokens of thought an effort is, for a template that cannot be told of efforts."""


@dataclass(frozen=True)
class ThinkingLimit:
    """How much of a text may be thoughts.

    Attributes:
        budget: So many tokens at most, of all its thoughts together; None or -1: any number.
        end_message: What a thought ends with if the budget does not let it go on.
        effort: One of ``EFFORTS``, for a budget where there is none.

    Raises:
        InvalidArgumentError: The budget is below -1, the message is no text, or the effort unknown.
    """

    budget: int | None = None
    end_message: str | None = None
    effort: str | None = None

    def __post_init__(self) -> None:
        if self.budget is not None:
            budget = integer("thinking_budget", self.budget, -1, 2**31 - 1)
            object.__setattr__(self, "budget", None if budget < 0 else budget)
        if not isinstance(self.end_message, str | None):
            raise InvalidArgumentError(
                f"thinking_end_message={self.end_message!r} must be a text, or None"
            )
        if self.effort is not None and self.effort not in tuple(EFFORTS):
            raise InvalidArgumentError(
                f"reasoning_effort={self.effort!r} must be one of {', '.join(EFFORTS)}"
            )

    @property
    def is_none(self) -> bool:
        """Whether nothing may be thought."""
        return self.budget == 0 or self.effort == "none"

    def without_effort(self, *, is_told: bool) -> ThinkingLimit:
        """Make a budget of the effort, unless there is one or the template is told the effort."""
        budget = 0 if self.is_none else self.budget
        if budget is None and self.effort is not None and not is_told:
            budget = EFFORTS[self.effort]
        return ThinkingLimit(budget, self.end_message)


class Thinking:
    """Follows one text, and ends its thoughts when they have had their budget.

    Args:
        vocab: What its tokens say.
        tags: How it writes thoughts.
        limit: How much it may think.
    """

    def __init__(self, vocab: Vocab, tags: ThoughtTags, limit: ThinkingLimit) -> None:
        self._vocab = vocab
        self._pieces = Pieces(lambda token: vocab.token_to_piece(token, special=True))
        self._finder = ThoughtFinder(tags)
        self._budget = limit.budget
        self._message = limit.end_message or ""
        self._end = tags.ends[0]
        self._is_ending = False

    @property
    def n_tokens(self) -> int:
        """The tokens of thoughts so far, without what begins and ends them."""
        return self._finder.n_tokens

    def after(self, token: int) -> str:
        """Take a token; return what of its text is no thought."""
        return self._finder.add(self._pieces[token][0])

    def end(self) -> Sequence[int]:
        """Return the tokens that end a thought which may not go on; none where it may."""
        finder = self._finder
        if not finder.is_open:
            self._is_ending = False
            return ()
        if self._budget is None or self._is_ending:
            return ()
        if finder.n_tokens < self._budget or not finder.is_whole:
            return ()
        self._is_ending = True
        message = spelled(self._vocab, self._message, parse_special=False)
        end = spelled(self._vocab, self._end)
        if not message and len(end) > 1 and self._end.startswith(finder.held):
            return spelled(self._vocab, self._end[len(finder.held) :])  # it ends by itself already
        return message + end
