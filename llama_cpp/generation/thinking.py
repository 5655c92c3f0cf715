"""``Thinking``: the thoughts of one text that is being written."""

from __future__ import annotations

from ..handles import Vocab
from ..text import Pieces, ThoughtFinder, ThoughtTags


class Thinking:
    """Follows one text.

    Args:
        vocab: What its tokens say.
        tags: How it writes thoughts.
    """

    def __init__(self, vocab: Vocab, tags: ThoughtTags) -> None:
        self._pieces = Pieces(lambda token: vocab.token_to_piece(token, special=True))
        self._finder = ThoughtFinder(tags)

    @property
    def n_tokens(self) -> int:
        """The tokens of thoughts so far, without what begins and ends them."""
        return self._finder.n_tokens

    def after(self, token: int) -> str:
        """Take a token; return what of its text is no thought."""
        return self._finder.add(self._pieces[token][0])
