"""Images and sounds in a prompt: where they stand between the tokens. Pure Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from ..handles import Context


class Media(Protocol):
    """An image or a sound that is evaluated at once: ``MediaChunk``, which see."""

    n_tokens: int
    n_pos: int
    placeholders: list[int]

    def decode(self, context: Context, pos: int, seq_id: int) -> None:
        """Evaluate it as the next positions of a sequence."""


class PlacedMedia(NamedTuple):
    """An image or a sound, with the positions that it takes: ``start`` and the next ones."""

    start: int
    media: Media

    @property
    def end(self) -> int:
        """The position after it."""
        return self.start + self.media.n_pos


class MediaPrompt(list[int]):
    """The tokens of a prompt, with a negative number for each position of an image or a sound.

    Where these numbers are equal, so are the images.

    Args:
        parts: Tokens, and what stands between them.

    Raises:
        InvalidArgumentError: It does not end with a token, so that nothing could follow.
    """

    def __init__(self, parts: Sequence[Sequence[int] | Media]) -> None:
        super().__init__()
        self.media: list[PlacedMedia] = []
        for part in parts:
            if isinstance(part, Sequence):
                self.extend(part)
            else:
                self.media.append(PlacedMedia(len(self), part))
                self.extend(part.placeholders)
        if not self or self[-1] < 0:
            raise InvalidArgumentError(
                "the prompt must go on after its last image or sound: at least one token is needed "
                "to continue from"
            )

    def __radd__(self, tokens: list[int]) -> MediaPrompt:
        """Put tokens in front."""
        parts: list[Sequence[int] | Media] = [tokens]
        position = 0
        for placed in self.media:
            parts += [self[position : placed.start], placed.media]
            position = placed.end
        return MediaPrompt([*parts, self[position:]])


def text_after(media: Sequence[PlacedMedia], position: int, end: int) -> int:
    """Return how many tokens follow from ``position`` on, up to the next medium or the end."""
    return min((each.start for each in media if each.start >= position), default=end) - position


def media_at(media: Sequence[PlacedMedia], position: int) -> PlacedMedia | None:
    """Return what begins at a position, if anything does."""
    return next((each for each in media if each.start == position), None)


def without_cut(media: Sequence[PlacedMedia], count: int) -> int:
    """Return how many of the first ``count`` positions come before a medium that they cut."""
    return next((each.start for each in media if each.start < count < each.end), count)


def n_cells(prompt: Sequence[int]) -> int:
    """How many cells of the memory a prompt takes: an image may take more than it has positions."""
    media = prompt.media if isinstance(prompt, MediaPrompt) else ()
    return len(prompt) + sum(each.media.n_tokens - each.media.n_pos for each in media)
