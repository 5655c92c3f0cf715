"""Chat formats and handlers: other ways from messages to replies than the model's own template.

A *formatter* makes a prompt of messages; a *handler* does all of a chat completion. Both are
registered by name, for ``Llama(chat_format=...)``; handlers also go to ``Llama(chat_handler=...)``.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._utils import Singleton, suppress_stdout_stderr
from .chat.formats.formatter import ChatFormatter, ChatFormatterResponse
from .chat.formats.handlers import (
    LlamaChatCompletionHandler,
    LlamaChatCompletionHandlerNotFoundException,
    LlamaChatCompletionHandlerRegistry,
    chat_formatter_to_chat_completion_handler,
    get_chat_completion_handler,
    register_chat_completion_handler,
    register_chat_format,
)
from .chat.formats.known_templates import (
    CHATML_BOS_TOKEN,
    CHATML_CHAT_TEMPLATE,
    CHATML_EOS_TOKEN,
    LLAMA3_INSTRUCT_CHAT_TEMPLATE,
    MISTRAL_INSTRUCT_BOS_TOKEN,
    MISTRAL_INSTRUCT_CHAT_TEMPLATE,
    MISTRAL_INSTRUCT_EOS_TOKEN,
    MIXTRAL_INSTRUCT_CHAT_TEMPLATE,
    guess_chat_format_from_gguf_metadata,
)
from .chat.formats.named import FORMATS
from .compat.names import find

if TYPE_CHECKING:
    from .chat.formats.jinja import (
        Jinja2ChatFormatter,
        hf_autotokenizer_to_chat_completion_handler,
        hf_autotokenizer_to_chat_formatter,
        hf_tokenizer_config_to_chat_completion_handler,
        hf_tokenizer_config_to_chat_formatter,
    )
    from .chat.media.handlers import (
        Gemma4ChatHandler,
        Llama3VisionAlpha,
        Llama3VisionAlphaChatHandler,
        Llava15ChatHandler,
        Llava16ChatHandler,
        MiniCPMv26ChatHandler,
        MoondreamChatHandler,
        MTMDChatHandler,
        NanoLlavaChatHandler,
        ObsidianChatHandler,
        Qwen25VLChatHandler,
    )
    from .chat.sandbox import ChatTemplate

__all__ = [
    "CHATML_BOS_TOKEN",
    "CHATML_CHAT_TEMPLATE",
    "CHATML_EOS_TOKEN",
    "LLAMA3_INSTRUCT_CHAT_TEMPLATE",
    "MISTRAL_INSTRUCT_BOS_TOKEN",
    "MISTRAL_INSTRUCT_CHAT_TEMPLATE",
    "MISTRAL_INSTRUCT_EOS_TOKEN",
    "MIXTRAL_INSTRUCT_CHAT_TEMPLATE",
    "ChatFormatter",
    "ChatFormatterResponse",
    "Gemma4ChatHandler",
    "Jinja2ChatFormatter",
    "Llama3VisionAlpha",
    "Llama3VisionAlphaChatHandler",
    "LlamaChatCompletionHandler",
    "LlamaChatCompletionHandlerNotFoundException",
    "LlamaChatCompletionHandlerRegistry",
    "Llava15ChatHandler",
    "Llava16ChatHandler",
    "MTMDChatHandler",
    "MiniCPMv26ChatHandler",
    "MoondreamChatHandler",
    "NanoLlavaChatHandler",
    "ObsidianChatHandler",
    "Qwen25VLChatHandler",
    "Singleton",
    "chat_formatter_to_chat_completion_handler",
    "chatml_function_calling",
    "format",
    "format_alpaca",
    "format_baichuan",
    "format_baichuan2",
    "format_chatglm3",
    "format_chatml",
    "format_gemma",
    "format_intel",
    "format_llama2",
    "format_llama3",
    "format_mistral_instruct",
    "format_mistrallite",
    "format_oasst_llama",
    "format_open_orca",
    "format_openbuddy",
    "format_openchat",
    "format_phind",
    "format_pygmalion",
    "format_qwen",
    "format_redpajama_incite",
    "format_saiga",
    "format_snoozy",
    "format_zephyr",
    "functionary_chat_handler",
    "functionary_v1_v2_chat_handler",
    "get_chat_completion_handler",
    "guess_chat_format_from_gguf_metadata",
    "hf_autotokenizer_to_chat_completion_handler",
    "hf_autotokenizer_to_chat_formatter",
    "hf_tokenizer_config_to_chat_completion_handler",
    "hf_tokenizer_config_to_chat_formatter",
    "register_chat_completion_handler",
    "register_chat_format",
    "suppress_stdout_stderr",
]

# Imported on first use: they take longer to import than most chats need.
_JINJA = (
    "Jinja2ChatFormatter",
    "hf_autotokenizer_to_chat_completion_handler",
    "hf_autotokenizer_to_chat_formatter",
    "hf_tokenizer_config_to_chat_completion_handler",
    "hf_tokenizer_config_to_chat_formatter",
)
_VISION = (
    "Gemma4ChatHandler",
    "Llama3VisionAlpha",
    "Llama3VisionAlphaChatHandler",
    "Llava15ChatHandler",
    "Llava16ChatHandler",
    "MTMDChatHandler",
    "MiniCPMv26ChatHandler",
    "MoondreamChatHandler",
    "NanoLlavaChatHandler",
    "ObsidianChatHandler",
    "Qwen25VLChatHandler",
)
# Those of the most used fork: models that the general handler serves.
_FORK = (
    "GLM41VChatHandler",
    "GLM46VChatHandler",
    "Gemma3ChatHandler",
    "GraniteDoclingChatHandler",
    "LFM2VLChatHandler",
    "PaddleOCRChatHandler",
    "Qwen35ChatHandler",
    "Qwen3VLChatHandler",
)
_LATER = {
    **dict.fromkeys(_JINJA, "formats.jinja"),
    **dict.fromkeys(_VISION + _FORK, "media.handlers"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        return find(__name__, name)
    value = getattr(importlib.import_module(f".chat.{_LATER[name]}", __package__), name)
    globals()[name] = value
    return value


functionary_chat_handler = get_chat_completion_handler("functionary")
functionary_v1_v2_chat_handler = get_chat_completion_handler("functionary-v2")
chatml_function_calling = get_chat_completion_handler("chatml-function-calling")


def _formatter(name: str) -> Callable[..., ChatFormatterResponse]:
    named = FORMATS[name]

    @functools.cache
    def template() -> ChatTemplate:
        from .chat.sandbox import ChatTemplate

        return ChatTemplate(named.template)

    def formatter(messages: list[Any], **kwargs: Any) -> ChatFormatterResponse:
        prompt = template().render(messages=messages, add_generation_prompt=True)
        return ChatFormatterResponse(prompt, list(named.stops))

    formatter.__doc__ = f"Format messages as {name!r}."
    return formatter


format_llama2 = _formatter("llama-2")
format_llama3 = _formatter("llama-3")
format_alpaca = _formatter("alpaca")
format_qwen = _formatter("qwen")
format = _formatter("vicuna")  # noqa: A001 - llama-cpp-python's name
format_oasst_llama = _formatter("oasst_llama")
format_baichuan = _formatter("baichuan")
format_baichuan2 = _formatter("baichuan-2")
format_openbuddy = _formatter("openbuddy")
format_redpajama_incite = _formatter("redpajama-incite")
format_snoozy = _formatter("snoozy")
format_phind = _formatter("phind")
format_intel = _formatter("intel")
format_open_orca = _formatter("open-orca")
format_mistrallite = _formatter("mistrallite")
format_zephyr = _formatter("zephyr")
format_pygmalion = _formatter("pygmalion")
format_chatml = _formatter("chatml")
format_mistral_instruct = _formatter("mistral-instruct")
format_chatglm3 = _formatter("chatglm3")
format_openchat = _formatter("openchat")
format_saiga = _formatter("saiga")
format_gemma = _formatter("gemma")
