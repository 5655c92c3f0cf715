"""Handlers, which do all of a chat completion, and their registry."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, final

from ..._utils import Singleton
from ...errors import InvalidArgumentError
from ...sampling.options import FurtherSamplingOptions
from ...sampling.params import RANDOM_SEED
from ...text import StopStrings
from ..conversation import LoadedTemplate
from ..params import ChatParams
from ..render import Renderer, TemplateRenderer
from .formatter import FormatterRenderer
from .functionary import FUNCTIONARY, FunctionaryRenderer
from .named import FORMATS


class LlamaChatCompletionHandler(Protocol):
    """Does all of a chat completion."""

    def __call__(
        self,
        *,
        llama: Any,
        messages: list[Any],
        functions: list[Any] | None = None,
        function_call: Any = None,
        tools: list[Any] | None = None,
        tool_choice: Any = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        stream: bool = False,
        stop: str | list[str] | None = [],  # noqa: B006 - as in llama-cpp-python; never changed
        seed: int | None = None,
        response_format: Any = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.1,
        model: str | None = None,
        logit_bias: dict[str, float] | None = None,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        logits_processor: Any = None,
        grammar: Any = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer, with the arguments of ``Llama.create_chat_completion``."""


class RenderingHandler(abc.ABC):
    """A handler that makes prompts of messages, and leaves the rest to the model."""

    @abc.abstractmethod
    def renderer(self, chats: Any, *, has_tools: bool = False) -> Renderer:
        """Return what renders conversations.

        Args:
            chats: The ``Chats`` of the model.
            has_tools: Whether the conversation has tools.
        """

    @property
    def only_renders(self) -> bool:
        """Whether calling it does nothing more: no subclass of somebody's answers by itself."""
        return type(self).__call__.__module__.startswith("llama_cpp.")

    def __call__(
        self,
        llama: Any,
        messages: Sequence[Mapping[str, Any]],
        functions: Any = None,
        function_call: Any = None,
        tools: Any = None,
        tool_choice: Any = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        stream: bool = False,
        stop: str | list[str] | None = [],  # noqa: B006 - as in llama-cpp-python; never changed
        response_format: Any = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.1,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        logits_processor: Any = None,
        grammar: Any = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        seed: int | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer, with the arguments of ``Llama.create_chat_completion``."""
        params = llama.chats.params(
            functions=functions, function_call=function_call, tools=tools,
            tool_choice=tool_choice, temperature=temperature, top_p=top_p, top_k=top_k,
            min_p=min_p, typical_p=typical_p, stop=stop, seed=seed,
            response_format=response_format, max_tokens=max_tokens,
            presence_penalty=presence_penalty, frequency_penalty=frequency_penalty,
            repeat_penalty=repeat_penalty, tfs_z=tfs_z, mirostat_mode=mirostat_mode,
            mirostat_tau=mirostat_tau, mirostat_eta=mirostat_eta, model=model,
            logits_processor=logits_processor, grammar=grammar, logit_bias=logit_bias,
            logprobs=logprobs, top_logprobs=top_logprobs, **kwargs,
        )  # fmt: skip
        renderer = self.renderer(llama.chats, has_tools=params.has_tools)
        return llama.chats.answer(messages, params, renderer, stream=stream)


@final
class FormatHandler(RenderingHandler):
    """The handler of a format.

    Args:
        name: That of the format.
        make_renderer: Makes what renders it.
    """

    def __init__(self, name: str, make_renderer: Callable[[], Renderer]) -> None:
        self.__name__ = name
        self._make_renderer = make_renderer

    def renderer(self, chats: Any, *, has_tools: bool = False) -> Renderer:
        """Return what renders conversations."""
        return self._make_renderer()


class LlamaChatCompletionHandlerNotFoundException(InvalidArgumentError):  # noqa: N818
    """There is no handler of this name."""


class LlamaChatCompletionHandlerRegistry(Singleton):
    """Handlers by name."""

    _chat_handlers: dict[str, Callable[..., Any]] = {}  # noqa: RUF012 - there is one registry

    def register_chat_completion_handler(
        self, name: str, chat_handler: Callable[..., Any], overwrite: bool = False
    ) -> None:
        """Add a handler.

        Args:
            name: What ``chat_format`` names it by.
            chat_handler: The handler.
            overwrite: Whether it may replace another one.

        Raises:
            InvalidArgumentError: There is one of this name.
        """
        if not overwrite and name in self._chat_handlers:
            raise InvalidArgumentError(
                f"there is a chat handler named {name!r} already: give overwrite=True to replace it"
            )
        self._chat_handlers[name] = chat_handler

    def unregister_chat_handler(self, name: str) -> None:
        """Remove a handler.

        Raises:
            InvalidArgumentError: None of this name was registered.
        """
        if self._chat_handlers.pop(name, None) is None:
            raise InvalidArgumentError(f"there is no registered chat handler named {name!r}")

    def get_chat_completion_handler_by_name(self, name: str) -> Callable[..., Any]:
        """Return a handler: a registered one, or that of a named format.

        Raises:
            LlamaChatCompletionHandlerNotFoundException: There is none; the message lists all.
        """
        if name in self._chat_handlers:
            return self._chat_handlers[name]
        if name in FUNCTIONARY:
            return FormatHandler(name, lambda: FunctionaryRenderer(name))
        if name in FORMATS:
            return FormatHandler(name, lambda: _renderer_of_format(name))
        names = sorted({*self._chat_handlers, *FUNCTIONARY, *FORMATS})
        raise LlamaChatCompletionHandlerNotFoundException(
            f"chat_format={name!r} is unknown: there are {', '.join(names)}, and None for the "
            "model's own template"
        )


def get_chat_completion_handler(name: str) -> Callable[..., Any]:
    """Return the handler of this name.

    Raises:
        LlamaChatCompletionHandlerNotFoundException: There is none; the message lists all.
    """
    return LlamaChatCompletionHandlerRegistry().get_chat_completion_handler_by_name(name)


def register_chat_completion_handler(name: str) -> Callable[[Any], Any]:
    """Decorate a handler to register it.

    Args:
        name: What ``chat_format`` names it by. One that is there already is replaced.
    """

    def register(handler: Any) -> Any:
        LlamaChatCompletionHandlerRegistry().register_chat_completion_handler(name, handler, True)
        return handler

    return register


def register_chat_format(name: str) -> Callable[[Any], Any]:
    """Decorate a formatter to register its handler.

    Args:
        name: What ``chat_format`` names it by. One that is there already is replaced.
    """

    def register(formatter: Any) -> Any:
        handler = chat_formatter_to_chat_completion_handler(formatter)
        LlamaChatCompletionHandlerRegistry().register_chat_completion_handler(name, handler, True)
        return formatter

    return register


def chat_formatter_to_chat_completion_handler(chat_formatter: Callable[..., Any]) -> Any:
    """Make a handler of a formatter.

    Args:
        chat_formatter: The formatter.
    """
    has_template = getattr(chat_formatter, "engine_template", None)
    template = None if has_template is None else has_template()
    renderer = FormatterRenderer(chat_formatter, template)
    return FormatHandler(getattr(chat_formatter, "__name__", "formatter"), lambda: renderer)


@functools.cache
def _renderer_of_format(name: str) -> TemplateRenderer:
    named = FORMATS[name]
    return TemplateRenderer(LoadedTemplate(named.template), named.stops)


def handler_arguments(params: ChatParams) -> dict[str, Any]:
    """The keyword arguments of a handler of somebody else's.

    Those that llama-cpp-python's handlers do not know are among them only if they are set.
    """
    sampling, generation = params.sampling, params.generation
    assert isinstance(generation.stop, StopStrings)
    known = {
        "functions": params.functions,
        "function_call": params.function_call,
        "tools": params.tools,
        "tool_choice": params.tool_choice,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "typical_p": sampling.typical_p,
        "stop": list(generation.stop.stops),
        "seed": None if sampling.seed == RANDOM_SEED else sampling.seed,
        "response_format": params.response_format,
        "max_tokens": generation.max_tokens,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_penalty": sampling.repeat_penalty,
        "tfs_z": 1.0,
        "mirostat_mode": sampling.mirostat_mode,
        "mirostat_tau": sampling.mirostat_tau,
        "mirostat_eta": sampling.mirostat_eta,
        "model": params.model,
        "logits_processor": generation.logits_processor,
        "grammar": params.grammar,
        "logit_bias": dict(sampling.logit_bias) or None,
        "logprobs": None if generation.logprobs is None else True,
        "top_logprobs": params.top_logprobs,
    }
    plain = ChatParams()
    further = {
        name: getattr(params, name)
        for name in _FURTHER
        if getattr(params, name) != getattr(plain, name)
    }
    further |= {
        name: getattr(sampling, name)
        for name in FurtherSamplingOptions.__annotations__
        if getattr(sampling, name) != getattr(plain.sampling, name)
    }
    further |= generation.service.arguments()
    if generation.n != 1:
        further["n"] = generation.n
    if generation.sampling_trace:
        further["sampling_trace"] = True
    if params.include_usage:
        further["stream_options"] = {"include_usage": True}
    return known | further


_FURTHER = (
    "lora", "parallel_tool_calls", "enable_thinking", "reasoning_format",
    "continue_final_message", "chat_template_kwargs", "parse_special",
    "thinking_budget", "thinking_end_message", "reasoning_effort",
)  # fmt: skip
