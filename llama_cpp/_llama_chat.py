"""What ``Llama`` offers for chats."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from ._llama_embeddings import LlamaEmbeddings
from .chat.completion import ChatCompletionJob
from .chat.formats.handlers import get_chat_completion_handler
from .chat.messages import checked_messages, reply_form
from .chat.render import Renderer
from .chat.special_text import SpecialTexts
from .chat.templates import Templates
from .errors import InvalidArgumentError, LlamaError
from .generation.generator import Generator, Options
from .generation.prompts import Prompts
from .llama_types import CreateChatCompletionResponse, CreateChatCompletionStreamResponse
from .sampling.options import NAMED, sampling_params

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .sampling.options import SamplingOptions


REASONING_FORMATS = ("none", "auto", "deepseek", "deepseek-legacy")
"""Where thoughts go; all but the first put them into ``reasoning_content``."""


class LlamaChat(LlamaEmbeddings):
    """The part of ``Llama`` for chats."""

    metadata: dict[str, str]
    chat_format: str | None
    chat_handler: Any
    _chat_handlers: dict[str, Callable[..., Any]]
    _generator: Generator
    _prompts: Prompts
    _templates: Templates
    _special_texts: SpecialTexts | None

    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        functions: Sequence[Mapping[str, Any]] | None = None,
        function_call: Any = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: Any = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        stream: bool = False,
        stop: str | list[str] | None = [],  # noqa: B006 - as in llama-cpp-python; never changed
        seed: int | None = None,
        response_format: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        logits_processor: Any = None,
        grammar: Any = None,
        logit_bias: Mapping[Any, float] | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        *,
        n: int = 1,
        stream_options: Mapping[str, Any] | None = None,
        max_completion_tokens: int | None = None,
        parallel_tool_calls: bool | None = None,
        enable_thinking: bool | None = None,
        reasoning_format: str | None = None,
        continue_final_message: bool | Literal["content", "reasoning_content"] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        parse_special: bool = False,
        lora: Mapping[str, float] | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> CreateChatCompletionResponse | Iterator[CreateChatCompletionStreamResponse]:
        """Answer the last message of a conversation.

        Args:
            messages: OpenAI's messages.
            functions: The older form of ``tools``.
            function_call: The older form of ``tool_choice``.
            tools: What the model may call.
            tool_choice: "auto"; "required" or ``{"type": "function", "function": {"name": ...}}``
                admit nothing but a call, after thoughts; "none".
            temperature: See ``create_completion``, as for those without a word here.
            top_p: See there.
            top_k: See there.
            min_p: See there.
            typical_p: See there.
            stream: Whether to return an iterator of parts.
            stop: Texts that end the reply.
            seed: See there.
            response_format: ``{"type": "json_object"}``, with a ``schema`` if wanted, or OpenAI's
                ``json_schema``. What no grammar can say in a schema is an error, unless ``strict``
                is False.
            max_tokens: How many tokens at most; None: until the context is full.
            presence_penalty: See there.
            frequency_penalty: See there.
            repeat_penalty: See there.
            tfs_z: Without effect.
            mirostat_mode: See there.
            mirostat_tau: See there.
            mirostat_eta: See there.
            model: What the result says the model is.
            logits_processor: Callables that change the logits.
            grammar: What the reply has to look like.
            logit_bias: Added to the logits, by token id.
            logprobs: Whether to tell the log-probabilities of the tokens.
            top_logprobs: And of how many likeliest ones.
            n: How many replies.
            stream_options: ``{"include_usage": True}`` adds a chunk with the usage.
            max_completion_tokens: OpenAI's newer name of ``max_tokens``.
            parallel_tool_calls: Whether one reply may have several calls.
            enable_thinking: Whether the model is to think first, where its template knows of it;
                None leaves that to the template.
            reasoning_format: "auto", which is what None means, and "deepseek" put thoughts into
                ``reasoning_content``; "none" leaves them in the content.
            continue_final_message: Whether the last message, or its named part, is the beginning of
                the reply. Only what is new is returned.
            chat_template_kwargs: More variables for the template.
            parse_special: Whether the texts of special tokens in messages stand for those tokens,
                so that a message may end itself; else they are text.
            lora: Scales of LoRA adapters by name (``load_lora``); None takes that of ``lora_path``.
            **sampling: Further parameters: see ``SamplingParams``.

        Returns:
            OpenAI's chat completion object, or an iterator of its chunks. Closing the iterator
            stops the generation.

        Raises:
            ChatTemplateError: The template does not parse, or does not take the messages.
            GrammarError: The grammar or the schema cannot be used.
            ContextWindowError: They do not fit into the context.
            InvalidArgumentError: An argument is out of range, or they contradict each other.
        """
        arguments = {k: v for k, v in locals().items() if k not in ("self", "stream", "sampling")}
        if (handler := self._handler()) is not None:
            return _handled(handler, self, stream, {**arguments, **sampling})  # type: ignore[no-any-return]
        job = self._chat(**arguments, **sampling)
        return job.chunks() if stream else job.result()

    def create_chat_completion_openai_v1(self, *args: Any, **kwargs: Any) -> Any:
        """Answer like ``create_chat_completion``, with objects of the ``openai`` package.

        Args:
            *args: Those of ``create_chat_completion``.
            **kwargs: Likewise.

        Raises:
            LlamaError: The openai package is not installed.
        """
        try:
            from openai.types.chat import ChatCompletion as Whole
            from openai.types.chat import ChatCompletionChunk as Part
        except ImportError:
            raise LlamaError("the openai package is needed for this: pip install openai") from None
        answer = self.create_chat_completion(*args, **kwargs)
        if kwargs.get("stream"):
            return (Part(**cast("Any", chunk)) for chunk in answer)
        return Whole(**cast("Any", answer))

    def chat_job(self, messages: Sequence[Mapping[str, Any]], **given: Any) -> ChatCompletionJob:
        """Make the call of ``create_chat_completion``, which begins when it is asked to.

        For servers, which wait for many calls at once.

        Args:
            messages: OpenAI's messages.
            **given: The other arguments, but for ``stream``.

        Raises:
            InvalidArgumentError: A handler of the caller's own answers by itself.
        """
        arguments = {**_DEFAULTS, **given, "messages": messages}
        if (handler := self._handler()) is None:
            return self._chat(**arguments)
        job = _handled(handler, cast("LlamaChat", _Deferring(self)), False, arguments)
        if not isinstance(job, ChatCompletionJob):
            raise InvalidArgumentError(
                "the chat handler answers by itself, so that its answers cannot be waited for "
                "together: use create_chat_completion"
            )
        return job

    def _handler(self) -> Callable[..., Any] | None:
        """What answers in place of a template: the caller's handler, or a registered one."""
        name = self.chat_format
        if self.chat_handler is not None or name is None:
            return cast("Callable[..., Any] | None", self.chat_handler)
        if name in self._chat_handlers:
            return self._chat_handlers[name]
        return None if self._templates.knows(name) else get_chat_completion_handler(name)

    def _answer(self, renderer: Renderer, *, stream: bool = False, **given: Any) -> Any:
        """Answer by a renderer; arguments that are left out have their defaults."""
        job = self._chat(renderer, **{**_DEFAULTS, **given})
        return job.chunks() if stream else job.result()

    def _chat(
        self,
        renderer: Renderer | None = None,
        *,
        messages: Sequence[Mapping[str, Any]],
        functions: Any,
        function_call: Any,
        tools: Any,
        tool_choice: Any,
        stop: Any,
        seed: int | None,
        response_format: Mapping[str, Any] | None,
        max_tokens: int | None,
        tfs_z: float,
        model: str | None,
        logits_processor: Any,
        grammar: Any,
        logprobs: bool | None,
        top_logprobs: int | None,
        n: int,
        stream_options: Mapping[str, Any] | None,
        max_completion_tokens: int | None,
        parallel_tool_calls: bool | None,
        parse_special: bool,
        lora: Mapping[str, float] | None,
        **rest: Any,
    ) -> ChatCompletionJob:
        generator = self._generating()
        adapters = self._adapter_set(lora)
        form = reply_form(
            tools=tools, tool_choice=tool_choice, functions=functions, function_call=function_call,
            parallel_tool_calls=parallel_tool_calls, response_format=response_format,
            grammar=grammar,
        )  # fmt: skip
        if renderer is None:
            renderer = self._templates.renderer(self.chat_format, has_tools=bool(form.tools))
        template = _template_options({name: rest.pop(name) for name in _TEMPLATE_OPTIONS}, renderer)
        if top_logprobs is not None and not logprobs:
            raise InvalidArgumentError("top_logprobs needs logprobs=True")
        known = {name: rest.pop(name) for name in NAMED}
        known["penalty_last_n"] = self.last_n_tokens_size
        params = sampling_params(known, rest, self._seed_for(seed))
        conversation = renderer.render(
            self._model.vocab_handle, checked_messages(messages, renderer.roles), form, template,
            None if parse_special else self._texts_of_special_tokens(),
        )  # fmt: skip
        return ChatCompletionJob(
            generator,
            conversation,
            params,
            Options(
                max_tokens if max_completion_tokens is None else max_completion_tokens,
                stop,
                (top_logprobs or 0) if logprobs else None,
                n=n,
                logits_processor=logits_processor,
                adapters=adapters,
            ).with_stops(renderer.stops),
            model if model is not None else self.model_path,
            legacy=functions is not None and tools is None,
            before=lambda prompt: self._recall(prompt, adapters),
            after=self._keep,
            include_usage=bool((stream_options or {}).get("include_usage")),
        )

    def _texts_of_special_tokens(self) -> SpecialTexts:
        if self._special_texts is None:
            self._special_texts = SpecialTexts(self._model.vocab_handle)
        return self._special_texts

    def _generating(self) -> Generator:
        """What completions need.

        Raises:
            InvalidArgumentError: The model cannot generate.
            ClosedError: It is closed.
        """
        self._check_context()
        model, context = self._model.handle, self._ctx.handle
        if model.has_encoder or not context.has_memory:
            raise InvalidArgumentError(
                f"this model ({model.header.architecture}) does not continue texts: use embed"
            )
        return self._generator


class _Deferring:
    """A ``Llama`` for handlers, which gives them the call in place of the answer."""

    def __init__(self, llama: LlamaChat) -> None:
        self._llama = llama

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llama, name)

    def _answer(self, renderer: Renderer, *, stream: bool = False, **given: Any) -> Any:
        return self._llama._chat(renderer, **{**_DEFAULTS, **given})


_TEMPLATE_OPTIONS = (
    "enable_thinking", "reasoning_format", "continue_final_message", "chat_template_kwargs",
)  # fmt: skip


def _template_options(given: dict[str, Any], renderer: Renderer) -> dict[str, Any]:
    """Check what goes to the template, and say what was left out."""
    kwargs = given["chat_template_kwargs"] or {}
    if not isinstance(kwargs, Mapping):
        raise InvalidArgumentError(f"chat_template_kwargs={kwargs!r} must be a dict")
    given["reasoning_format"] = given["reasoning_format"] or "auto"
    for name, allowed in _ALLOWED.items():
        if given[name] not in allowed:
            raise InvalidArgumentError(
                f"{name}={given[name]!r} must be one of {', '.join(map(str, allowed))}"
            )
    if given["enable_thinking"] is None and "enable_thinking" not in kwargs:
        given["enable_thinking"] = renderer.thinks_by_default
    return given


_ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "enable_thinking": (True, False, None),
    "reasoning_format": REASONING_FORMATS,
    "continue_final_message": (True, False, None, "content", "reasoning_content"),
}

_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(LlamaChat.create_chat_completion).parameters.items()
    if parameter.default is not parameter.empty and name != "stream"
}


def _handled(
    handler: Callable[..., Any], llama: LlamaChat, stream: bool, arguments: Mapping[str, Any]
) -> Any:
    """Call a handler. Arguments that llama-cpp-python's do not know go only if they are set."""
    given = {
        name: value
        for name, value in arguments.items()
        if name in _HANDLED or name not in _DEFAULTS or value != _DEFAULTS[name]
    }
    return handler(llama=llama, stream=stream, **given)


_HANDLED = frozenset(
    name
    for name, parameter in inspect.signature(LlamaChat.create_chat_completion).parameters.items()
    if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
)
