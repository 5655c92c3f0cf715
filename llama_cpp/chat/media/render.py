"""Chats with images and sounds: a template renders marks, which then become what they stand for."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ...engine import MediaPrompt
from ...errors import InvalidArgumentError, MediaError
from ...handles import Vocab
from ..conversation import Conversation
from ..messages import ReplyForm
from ..render import Renderer
from ..special_text import SpecialTexts
from .content import MediaLoader

if TYPE_CHECKING:
    from ...handles.media import Bitmap, MediaProjector

MEDIA_MAX = 128
"""Images and sounds in one conversation."""

_MEDIA_TYPES = ("image_url", "input_audio")
_UNUSED = "\ufdd0"  # a noncharacter, in place of the mark of special tokens where there are none


@dataclass(frozen=True)
class MediaLayout:
    """How a family of models wants images among the texts of a message.

    Attributes:
        media_first: Before all texts, else where they stand.
        after_media: Follows each image.
        before_text: Stands before what the user writes.
    """

    media_first: bool = False
    after_media: str = ""
    before_text: str = ""


class MediaFile(NamedTuple):
    """An image or a sound of a message, and where it stands."""

    where: str
    data: bytes


def with_marks(
    messages: Sequence[Mapping[str, Any]], mark: str, layout: MediaLayout, loader: MediaLoader
) -> tuple[list[dict[str, Any]], list[MediaFile]]:
    """Put a mark in the place of each image and sound.

    Args:
        messages: Checked messages.
        mark: A text that no message has.
        layout: Where images stand.
        loader: Reads them.

    Returns:
        The messages with parts of type ``text`` and ``media_marker``, and what the marks stand for.

    Raises:
        MediaError: One cannot be had, or there are too many.
        InvalidArgumentError: A part is of another type.
    """
    marked: list[dict[str, Any]] = []
    files: list[MediaFile] = []
    for index, message in enumerate(messages):
        content = message["content"]
        before = layout.before_text if message["role"] == "user" else ""
        if isinstance(content, str):
            marked.append({**message, "content": before + content})
            continue
        texts: list[dict[str, str]] = []
        media: list[dict[str, str]] = []
        for number, part in enumerate(content):
            where = f"messages[{index}].content[{number}]"
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind in _MEDIA_TYPES and len(files) == MEDIA_MAX:
                raise MediaError(f"there are more than {MEDIA_MAX} images and sounds")
            if kind in _MEDIA_TYPES:
                files.append(MediaFile(where, loader.load_part(part, where)))
                (media if layout.media_first else texts).append(
                    {"type": "media_marker", "text": mark + layout.after_media}
                )
            elif kind == "text" and isinstance(part.get("text"), str):
                texts.append({"type": "text", "text": before + part["text"]})
                before = ""
            else:
                raise InvalidArgumentError(
                    f"{where} must be of type text, image_url or input_audio, not {part!r}"[:500]
                )
        marked.append({**message, "content": media + texts})
    return marked, files


class MediaTexts(SpecialTexts):
    """Makes tokens of a rendered prompt with marks, and keeps special tokens out of messages.

    Args:
        special_texts: Does the latter; None lets them be parsed.
        vocab: The vocabulary, for the context that the texts have to fit into.
        projector: Makes chunks of bitmaps.
        bitmaps: What the marks stand for, in their order.
        mark: The mark.
    """

    def __init__(
        self,
        special_texts: SpecialTexts | None,
        vocab: Vocab,
        projector: MediaProjector,
        bitmaps: Sequence[Bitmap],
        mark: str,
    ) -> None:
        self._special_texts = special_texts
        self._vocab = vocab
        self._projector = projector
        self._bitmaps = bitmaps
        self._mark = mark

    def found_in(self, value: Any) -> bool:
        """Say that the prompt is to be tokenized here."""
        return True

    def marked(
        self, messages: Sequence[Mapping[str, Any]], unmarked: Sequence[str] = ()
    ) -> tuple[list[dict[str, Any]], str]:
        """Mark the texts of special tokens in messages; see ``SpecialTexts``."""
        special = self._special_texts
        if special is None or not special.found_in(messages):
            return [dict(message) for message in messages], _UNUSED
        return special.marked(messages, unmarked)

    def tokenize(self, prompt: str, mark: str) -> MediaPrompt:
        """Tokenize a rendered prompt.

        Raises:
            MediaError: The template left an image out, or wrote one twice.
            InvalidArgumentError: There is no text after the last one.
        """
        from ...handles.media import interleave

        self._vocab.check_length(prompt.encode("utf-8", "replace"))
        parts: list[str | Bitmap] = []
        for part in interleave(prompt, self._bitmaps, self._mark):
            # A special token that is in pieces is none.
            parts += part.split(mark) if isinstance(part, str) else [part]
        return MediaPrompt(self._projector.tokenize(parts))


class MediaRenderer:
    """Renders conversations that have images and sounds.

    Args:
        inner: Renders the texts.
        projector: Gives the projector; is called when there is an image or a sound.
        loader: Reads what messages carry or name.
        layout: How the model wants images among texts.
    """

    def __init__(
        self,
        inner: Renderer,
        projector: Callable[[], MediaProjector],
        loader: MediaLoader | None = None,
        layout: MediaLayout | None = None,
    ) -> None:
        self._inner = inner
        self._projector = projector
        self._loader = loader or MediaLoader()
        self._layout = layout or MediaLayout()

    @property
    def roles(self) -> Collection[str]:
        """The roles that the template knows."""
        return self._inner.roles

    @property
    def thinks_by_default(self) -> bool:
        """Whether it asks for thoughts when nobody says anything about them."""
        return self._inner.thinks_by_default

    @property
    def stops(self) -> Sequence[str]:
        """Texts that end its replies."""
        return self._inner.stops

    def render(
        self,
        vocab: Vocab,
        messages: Sequence[Mapping[str, Any]],
        form: ReplyForm,
        options: Mapping[str, Any],
        special_texts: SpecialTexts | None,
    ) -> Conversation:
        """Render a conversation; see ``Renderer``.

        Raises:
            MediaError: An image or a sound cannot be had or used.
        """
        # Nobody can write a mark that nobody knows.
        mark = f"<__media_{secrets.token_hex(8)}__>"
        marked, files = with_marks(messages, mark, self._layout, self._loader)
        if not files:
            return self._inner.render(vocab, marked, form, options, special_texts)
        projector = self._projector()
        with ExitStack() as read:
            bitmaps = [read.enter_context(_bitmap(projector, file)) for file in files]
            texts = MediaTexts(special_texts, vocab, projector, bitmaps, mark)
            return self._inner.render(vocab, marked, form, options, texts)


def _bitmap(projector: MediaProjector, file: MediaFile) -> Bitmap:
    try:
        return projector.read(file.data)
    except MediaError as error:
        raise MediaError(f"{file.where}: {error.message}", error.native_log) from error
