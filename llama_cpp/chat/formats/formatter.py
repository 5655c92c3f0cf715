"""Conversations that somebody's own formatter renders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ...errors import ChatTemplateError, InvalidArgumentError
from ...generation.params import GenerationParams
from ...handles import Vocab
from ...sampling.hooks import StoppingCriteriaList
from ..conversation import LoadedTemplate, TemplateConversation
from ..generic_tools import generic_reply, with_tools_as_text
from ..messages import ROLES, ReplyForm
from ..reply import Parser, PlainText
from ..special_text import SpecialTexts


@dataclass
class ChatFormatterResponse:
    """What a formatter makes of messages.

    Attributes:
        prompt: The prompt.
        stop: Texts that end the reply.
        stopping_criteria: Say when to stop.
        added_special: Whether the prompt has the token that begins a sequence already.
    """

    prompt: str
    stop: str | list[str] | None = None
    stopping_criteria: StoppingCriteriaList | None = None
    added_special: bool = False


class ChatFormatter(Protocol):
    """Makes a prompt of messages."""

    def __call__(self, *, messages: list[Any], **kwargs: Any) -> ChatFormatterResponse:
        """Return the prompt.

        Args:
            messages: OpenAI's messages.
            **kwargs: ``functions``, ``function_call``, ``tools``, ``tool_choice``.
        """


class FormattedConversation:
    """A conversation as a formatter renders it.

    Args:
        formatter: Renders it.
        vocab: The model's vocabulary.
        messages: Checked messages.
        form: What the reply has to look like.
        options: Those of ``ChatTemplates.apply``, for what reads the reply.
        special_texts: Keeps special tokens out of what the messages say; None lets them be parsed.
        template: The formatter's template, if it has one: tells how its model writes calls.

    Raises:
        InvalidArgumentError: The formatter returned something else.
    """

    def __init__(
        self,
        formatter: Callable[..., Any],
        vocab: Vocab,
        messages: Sequence[Mapping[str, Any]],
        form: ReplyForm,
        options: Mapping[str, Any],
        special_texts: SpecialTexts | None,
        template: LoadedTemplate | None,
    ) -> None:
        self._reply = _native_reply(template, vocab, messages, form, options)
        if form.tools and self._reply is None:
            messages = with_tools_as_text(messages, form.tools)
        if form != ReplyForm() and self._reply is None:
            self._reply = generic_reply(vocab, form, options)
        mark = ""
        if special_texts is not None and special_texts.found_in(messages):
            messages, mark = special_texts.marked(messages)
        tools = {"tools": list(form.tools), "tool_choice": form.tool_choice} if form.tools else {}
        response = formatter(messages=[dict(each) for each in messages], **tools)
        if not isinstance(getattr(response, "prompt", None), str):
            raise InvalidArgumentError(
                f"the chat formatter returned {response!r}, not a ChatFormatterResponse"
            )
        self._response = response
        if mark:
            assert special_texts is not None
            ids = special_texts.tokenize(response.prompt, mark)
        else:
            ids = vocab.tokenize(response.prompt, add_special=False, parse_special=True)
        begins = vocab.add_bos and vocab.bos >= 0 and not response.added_special
        starts = [vocab.bos] if begins and ids[:1] != [vocab.bos] else []
        self.prompt: Sequence[int] = starts + ids

    def options(self, options: GenerationParams) -> GenerationParams:
        """Add stops, criteria and the grammar to a request's options."""
        if self._reply is not None:
            options = self._reply.options(options)
        own = self._response.stop or []
        options = options.with_stops([own] if isinstance(own, str) else own)
        if self._response.stopping_criteria is not None:
            options = replace(options, stopping_criteria=self._response.stopping_criteria)
        return options

    def parser(self) -> Parser:
        """Make what reads one reply."""
        return PlainText() if self._reply is None else self._reply.parser()


def _native_reply(
    template: LoadedTemplate | None,
    vocab: Vocab,
    messages: Sequence[Mapping[str, Any]],
    form: ReplyForm,
    options: Mapping[str, Any],
) -> TemplateConversation | None:
    """What reads replies as the formatter's own template has them, if that can be known."""
    if template is None:
        return None
    try:
        reply = TemplateConversation(template, vocab, messages, form, options)
    except ChatTemplateError:  # the engine does not know all of Jinja
        return None
    return None if form.tools and not reply.has_calls else reply


class FormatterRenderer:
    """Renders with a formatter.

    Args:
        formatter: The formatter.
        template: The formatter's template, if it has one.
    """

    roles = ROLES
    thinks_by_default = False
    stops = ()

    def __init__(
        self, formatter: Callable[..., Any], template: LoadedTemplate | None = None
    ) -> None:
        self._formatter = formatter
        self._template = template

    def render(
        self,
        vocab: Vocab,
        messages: Sequence[Mapping[str, Any]],
        form: ReplyForm,
        options: Mapping[str, Any],
        special_texts: SpecialTexts | None,
    ) -> FormattedConversation:
        """Render a conversation; see ``Renderer``."""
        return FormattedConversation(
            self._formatter, vocab, messages, form, options, special_texts, self._template
        )
