"""Handlers, which do all of a chat completion, and their registry."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..._utils import Singleton
from ...errors import InvalidArgumentError
from ..conversation import LoadedTemplate
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
            return _handler_by(lambda: FunctionaryRenderer(name))
        if name in FORMATS:
            return _handler_by(lambda: _renderer_of_format(name))
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
    return _handler_by(lambda: renderer)


@functools.cache
def _renderer_of_format(name: str) -> TemplateRenderer:
    named = FORMATS[name]
    return TemplateRenderer(LoadedTemplate(named.template), named.stops)


_ANYHOW = inspect.Parameter.POSITIONAL_OR_KEYWORD
_HANDLER_DEFAULTS: Mapping[str, Any] = {
    "functions": None, "function_call": None, "tools": None, "tool_choice": None,
    "temperature": 0.2, "top_p": 0.95, "top_k": 40, "min_p": 0.05, "typical_p": 1.0,
    "stream": False, "stop": [], "response_format": None, "max_tokens": None,
    "presence_penalty": 0.0, "frequency_penalty": 0.0, "repeat_penalty": 1.1, "tfs_z": 1.0,
    "mirostat_mode": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "model": None,
    "logits_processor": None, "grammar": None, "logprobs": None, "top_logprobs": None,
}  # fmt: skip


def _handler_by(renderer: Callable[[], Renderer]) -> Callable[..., Any]:
    def handler(*args: Any, **kwargs: Any) -> Any:
        bound = _HANDLER_SIGNATURE.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        further = arguments.pop("kwargs", {})
        return arguments.pop("llama")._answer(renderer(), **arguments, **further)

    handler.__signature__ = _HANDLER_SIGNATURE  # type: ignore[attr-defined]
    return handler


_HANDLER_SIGNATURE = inspect.Signature(
    [
        *(inspect.Parameter(name, _ANYHOW) for name in ("llama", "messages")),
        *(
            inspect.Parameter(n, _ANYHOW, default=default)
            for n, default in _HANDLER_DEFAULTS.items()
        ),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)
