"""Formatters of Jinja templates, and of what Hugging Face's tokenizers come with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ChatTemplateError, InvalidArgumentError, LlamaError
from ...sampling.hooks import StoppingCriteriaList
from ..conversation import LoadedTemplate
from ..sandbox import ChatTemplate, strftime_now, tojson
from .formatter import ChatFormatter, ChatFormatterResponse
from .handlers import chat_formatter_to_chat_completion_handler


class Jinja2ChatFormatter(ChatFormatter):
    """Formats with a Jinja template, in a sandbox.

    A template that does not parse raises when it is first used.

    Args:
        template: The template.
        eos_token: The text of the token that ends a sequence.
        bos_token: The text of the one that begins it.
        add_generation_prompt: Whether the prompt begins the reply.
        stop_token_ids: Tokens that end the reply.
    """

    def __init__(
        self,
        template: str,
        eos_token: str,
        bos_token: str,
        add_generation_prompt: bool = True,
        stop_token_ids: list[int] | None = None,
    ) -> None:
        self.template = template
        self.eos_token = eos_token
        self.bos_token = bos_token
        self.add_generation_prompt = add_generation_prompt
        self.stop_token_ids = set(stop_token_ids) if stop_token_ids is not None else None
        self._compiled: Any = None

    @staticmethod
    def strftime_now(f: str) -> str:
        """Return the present time.

        Args:
            f: Its format, as ``strftime`` has it.
        """
        return strftime_now(f)

    @staticmethod
    def tojson(
        x: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """Write a value as JSON; the arguments are those of ``json.dumps``."""
        return tojson(x, ensure_ascii, indent, separators, sort_keys)

    def __call__(
        self,
        *,
        messages: list[Any],
        functions: list[Any] | None = None,
        function_call: Any = None,
        tools: list[Any] | None = None,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> ChatFormatterResponse:
        """Render messages.

        Args:
            messages: OpenAI's messages.
            functions: The older form of ``tools``.
            function_call: The older form of ``tool_choice``.
            tools: What the model may call.
            tool_choice: Whether it must.
            **kwargs: More variables for the template.

        Raises:
            ChatTemplateError: The template does not parse, or does not take the messages.
        """
        if self._compiled is None:
            self._compiled = ChatTemplate(self.template)
        prompt = self._compiled.render(
            messages=messages, eos_token=self.eos_token, bos_token=self.bos_token,
            add_generation_prompt=self.add_generation_prompt, functions=functions,
            function_call=function_call, tools=tools, tool_choice=tool_choice, **kwargs,
        )  # fmt: skip
        criteria = None
        if ends := self.stop_token_ids:
            criteria = StoppingCriteriaList([lambda ids, logits: int(ids[-1]) in ends])
        stop = [self.eos_token] if self.eos_token else None
        return ChatFormatterResponse(prompt, stop, criteria, added_special=True)

    def to_chat_handler(self) -> Any:
        """Make a handler of it."""
        return chat_formatter_to_chat_completion_handler(self)

    def engine_template(self) -> LoadedTemplate | None:
        """The template in the engine's reading, which finds out how its model writes calls."""
        try:
            return LoadedTemplate(self.template, self.bos_token, self.eos_token)
        except ChatTemplateError:
            return None


def hf_autotokenizer_to_chat_formatter(pretrained_model_name_or_path: str) -> ChatFormatter:
    """Make a formatter of a tokenizer of the ``transformers`` package.

    Args:
        pretrained_model_name_or_path: What ``AutoTokenizer.from_pretrained`` takes.

    Raises:
        LlamaError: The package is not installed.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise LlamaError(
            "the transformers package is needed for this: pip install transformers"
        ) from None
    tokenizer = AutoTokenizer.from_pretrained(pretrained_model_name_or_path)

    def formatter(*, messages: list[Any], **kwargs: Any) -> ChatFormatterResponse:
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return ChatFormatterResponse(prompt, tokenizer.eos_token, added_special=True)

    return formatter


def hf_autotokenizer_to_chat_completion_handler(pretrained_model_name_or_path: str) -> Any:
    """Make a handler of a tokenizer; see ``hf_autotokenizer_to_chat_formatter``."""
    formatter = hf_autotokenizer_to_chat_formatter(pretrained_model_name_or_path)
    return chat_formatter_to_chat_completion_handler(formatter)


def hf_tokenizer_config_to_chat_formatter(
    tokenizer_config: dict[str, Any], add_generation_prompt: bool = True
) -> ChatFormatter:
    """Make a formatter of a ``tokenizer_config.json`` of Hugging Face's.

    Args:
        tokenizer_config: What the file holds.
        add_generation_prompt: Whether prompts begin the reply.

    Raises:
        InvalidArgumentError: It lacks a template or its tokens.
    """
    if not isinstance(tokenizer_config, Mapping):
        raise InvalidArgumentError(f"tokenizer_config must be a dict, not {tokenizer_config!r}")
    template = tokenizer_config.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    tokens = [_token_text(tokenizer_config.get(name)) for name in ("eos_token", "bos_token")]
    if not isinstance(template, str) or not all(isinstance(each, str) for each in tokens):
        raise InvalidArgumentError(
            "tokenizer_config must have chat_template, eos_token and bos_token, and these must be "
            "texts"
        )
    eos, bos = tokens
    return Jinja2ChatFormatter(template, eos, bos, add_generation_prompt)


def _token_text(token: Any) -> Any:
    return token.get("content") if isinstance(token, Mapping) else token


def hf_tokenizer_config_to_chat_completion_handler(
    tokenizer_config: dict[str, Any], add_generation_prompt: bool = True
) -> Any:
    """Make a handler of such a file; see ``hf_tokenizer_config_to_chat_formatter``."""
    formatter = hf_tokenizer_config_to_chat_formatter(tokenizer_config, add_generation_prompt)
    return chat_formatter_to_chat_completion_handler(formatter)
