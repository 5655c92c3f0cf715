"""``Chats``: from a call of ``create_chat_completion`` to replies that are being written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError
from ..generation.generator import Generator
from ..handles import Vocab
from ..llama_types import CreateChatCompletionResponse, CreateChatCompletionStreamResponse
from ..models.adapters import ModelAdapters
from ..sampling.defaults import SamplingDefaults
from ..structured.streams import ChunkStream, ReplyTexts
from .completion import ChatCompletionJob, add_parsed
from .conversation import Conversation
from .formats.handlers import RenderingHandler, get_chat_completion_handler, handler_arguments
from .media.render import MediaRenderer
from .messages import checked_messages
from .options import ChatOptions, Messages
from .overflow import room_for, trimmed
from .params import ChatParams
from .render import Renderer
from .special_text import SpecialTexts
from .templates import Templates

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Chats:
    """Answers conversations with one model.

    Args:
        generator: Writes the replies.
        templates: The model's chat templates.
        adapters: Those that calls may name.
        defaults: Sampling parameters where a call says nothing.
        model_name: What results say the model is where a call says nothing.
        chat_format: The name of a format, in place of the model's template.
        chat_handler: What turns messages into a completion, in place of a format.
    """

    def __init__(
        self,
        generator: Generator,
        templates: Templates,
        adapters: ModelAdapters,
        defaults: SamplingDefaults,
        model_name: str,
        chat_format: str | None = None,
        chat_handler: Any = None,
    ) -> None:
        self.templates = templates
        self.model = generator.model
        self.chat_format = chat_format
        self.chat_handler = chat_handler
        self.handlers: dict[str, Callable[..., Any]] = {}
        self._generator = generator
        self._adapters = adapters
        self._defaults = defaults
        self._model_name = model_name

    def params(self, **options: Unpack[ChatOptions]) -> ChatParams:
        """Check the arguments of ``Llama.create_chat_completion``.

        Raises:
            TypeError: A name is unknown.
            InvalidArgumentError: A value is out of range, or they contradict each other.
        """
        options.setdefault("penalty_last_n", self._defaults.penalty_last_n)
        return ChatParams.of(options)

    @property
    def handler(self) -> Callable[..., Any] | None:
        """What answers in place of this class: a handler of the caller's own."""
        handler = self._any_handler
        is_ours = isinstance(handler, RenderingHandler) and handler.only_renders
        return None if is_ours else handler

    @property
    def _any_handler(self) -> Callable[..., Any] | None:
        name = self.chat_format
        if self.chat_handler is not None or name is None:
            handler: Callable[..., Any] | None = self.chat_handler
            return handler
        if name in self.handlers:
            return self.handlers[name]
        return None if self.templates.knows(name) else get_chat_completion_handler(name)

    def renderer(self, *, has_tools: bool = False) -> Renderer:
        """Return what renders conversations.

        Args:
            has_tools: Whether the conversation has tools.

        Raises:
            ChatTemplateError: The template does not parse, or cannot be read.
            InvalidArgumentError: The format is unknown.
        """
        handler = self._any_handler
        if isinstance(handler, RenderingHandler):
            return handler.renderer(self, has_tools=has_tools)
        return self.templates.renderer(self.chat_format, has_tools=has_tools)

    @property
    def reads_media(self) -> bool:
        """Whether messages may have images or sounds."""
        return self.handler is None and isinstance(self.renderer(has_tools=True), MediaRenderer)

    def job(
        self, messages: Messages, params: ChatParams, renderer: Renderer | None = None
    ) -> ChatCompletionJob:
        """Make a call, which begins when its result is asked for.

        Args:
            messages: OpenAI's messages.
            params: How to answer them.
            renderer: Renders them; None takes that of the model or of its format.

        Raises:
            ChatTemplateError: The template does not parse, or does not take the messages.
            ContextWindowError: They are so long that they cannot fit into the context.
            GrammarError: The grammar or the schema cannot be used.
            InvalidArgumentError: The messages are none, or the model does not continue texts.
            ClosedError: The model is closed.
        """
        if renderer is None and self.handler is not None:
            raise InvalidArgumentError(
                "the chat handler answers by itself, so that its answers cannot be waited for "
                "together: use create_chat_completion"
            )
        self._generator.check()
        adapters = self._adapters.named(params.lora)
        form = params.reply_form()
        if renderer is None:
            renderer = self.renderer(has_tools=bool(form.tools))
        checked = checked_messages(messages, renderer.roles)
        options = params.template_options(thinks_by_default=renderer.thinks_by_default)
        special_texts = None if params.parse_special else self._special_texts

        def render(messages: Sequence[Mapping[str, Any]]) -> Conversation:
            return renderer.render(self._vocab, messages, form, options, special_texts)

        dropped: Sequence[int] | None = None
        if params.generation.service.overflow == "trim":
            room = room_for(params.generation.max_tokens, self._generator.engine.n_ctx)
            conversation, dropped = trimmed(checked, render, room)
        else:
            conversation = render(checked)
        generation = replace(params.generation, thinking=params.thinking)
        return ChatCompletionJob(
            self._generator,
            conversation,
            self._defaults.seeded(params.sampling),
            generation.with_adapters(adapters).with_stops(renderer.stops),
            self._model_name if params.model is None else params.model,
            legacy=params.is_legacy,
            include_usage=params.include_usage,
            trimmed_messages=dropped,
            texts=ReplyTexts(params.shape, form.schema),
        )

    def handled(
        self, llama: object, messages: Messages, params: ChatParams, *, stream: bool
    ) -> Any:
        """Let a handler of the caller's own answer.

        Args:
            llama: What it answers with.
            messages: OpenAI's messages.
            params: How to answer them.
            stream: Whether in parts.
        """
        handler = self.handler
        assert handler is not None
        arguments = handler_arguments(params)
        answer = handler(llama=llama, messages=messages, stream=stream, **arguments)
        if params.shape is None:
            return answer
        if stream:
            return ChunkStream((chunk for chunk in answer), ReplyTexts(params.shape))
        for choice in answer["choices"]:
            add_parsed(choice["message"], params.shape, choice["finish_reason"])
        return answer

    def answer(
        self, messages: Messages, params: ChatParams, renderer: Renderer | None, *, stream: bool
    ) -> CreateChatCompletionResponse | ChunkStream[CreateChatCompletionStreamResponse]:
        """Answer, whole or in parts; see ``job``."""
        job = self.job(messages, params, renderer)
        return job.chunks() if stream else job.result()

    @cached_property
    def _vocab(self) -> Vocab:
        return Vocab(self.model, self._generator.engine.n_ctx)

    @cached_property
    def _special_texts(self) -> SpecialTexts:
        return SpecialTexts(self._vocab)
