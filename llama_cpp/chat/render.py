"""From checked messages to a conversation, in whichever way the template takes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from ..errors import InvalidArgumentError
from ..handles import Vocab
from .conversation import Conversation, LoadedTemplate, TemplateConversation
from .generic_tools import ToolsInText, with_tools_described
from .messages import ReplyForm
from .special_text import SpecialTexts


class Renderer(Protocol):
    """Makes conversations of messages."""

    @property
    def roles(self) -> Collection[str]:
        """The roles that it knows."""

    @property
    def thinks_by_default(self) -> bool:
        """Whether it asks for thoughts when nobody says anything about them."""

    @property
    def stops(self) -> Sequence[str]:
        """Texts that end its replies."""

    def render(
        self,
        vocab: Vocab,
        messages: Sequence[Mapping[str, Any]],
        form: ReplyForm,
        options: Mapping[str, Any],
        special_texts: SpecialTexts | None,
    ) -> Conversation:
        """Render a conversation.

        Args:
            vocab: The model's vocabulary.
            messages: Checked messages.
            form: What the reply has to look like.
            options: Further ones of ``ChatTemplates.apply``.
            special_texts: Keeps special tokens out of what the messages say; None lets them be
                parsed.

        Raises:
            ChatTemplateError: The messages cannot be rendered.
        """


class TemplateRenderer:
    """Renders with one of the engine's templates.

    A template that does not describe tools, or has no form for calls, gets them as text.

    Args:
        template: The template.
        stops: Texts that end its replies.
    """

    def __init__(self, template: LoadedTemplate, stops: Sequence[str] = ()) -> None:
        self._template = template
        self.stops = stops

    @property
    def roles(self) -> frozenset[str]:
        """OpenAI's roles, and those that the template compares roles with."""
        return self._template.roles

    @property
    def thinks_by_default(self) -> bool:
        """Whether it asks for thoughts when nobody says anything about them."""
        return self._template.thinks_by_default

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
            InvalidArgumentError: A message has something else than text.
        """
        _refuse_media(messages)
        template, told = self._template, messages
        if form.tools and not template.describes_tools:
            told = with_tools_described(messages, form.tools, how_to_call=False)
        conversation = TemplateConversation(template, vocab, told, form, options, special_texts)
        if form.tools and not conversation.has_calls:
            return ToolsInText(template, vocab, messages, form, options, special_texts)
        return conversation


def _refuse_media(messages: Sequence[Mapping[str, Any]]) -> None:
    for index, message in enumerate(messages):
        for part in message["content"] if not isinstance(message["content"], str) else ():
            kind = part.get("type") if isinstance(part, Mapping) else part
            if kind not in ("text", "refusal", "media_marker"):
                raise InvalidArgumentError(
                    f"messages[{index}] has a part of type {kind!r}, but this chat reads text: for "
                    "images and audio give Llama(chat_handler=MTMDChatHandler(clip_model_path=...))"
                )
