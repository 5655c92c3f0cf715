"""Chat templates: from a conversation to a prompt, and from a reply back to a message.

The engine's interpreter of Jinja does both. It also finds out by itself how a template writes tool
calls and thoughts, and makes a grammar and a parser of that.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from ..errors import ChatParseError, ChatTemplateError, InvalidArgumentError, LlamaError
from ..native.backend import bridge, take_string
from ..validation import native_arguments as checks
from .base import Handle
from .deep_stack import with_stack_for_levels
from .json_limits import depth_of_brackets, depth_of_json, levels

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SOURCE_BYTES_MAX = 1 << 20
_REQUEST_DEPTH_MAX = 100
_RESERVED = {"messages", "tools", "bos_token", "eos_token", "add_generation_prompt"}
"""Variables that the engine sets; those of ``chat_template_kwargs`` would replace them."""


class ParserText(str):
    """How to read replies, as ``ChatTemplates.apply`` returns it.

    Nobody else makes one: another text could send the native parser round in circles.
    """

    __slots__ = ()


class ChatOptions(TypedDict, total=False):
    """How a conversation is to be rendered; see ``ChatTemplates.apply``."""

    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: Literal["auto", "required", "none"] | None
    parallel_tool_calls: bool | None
    json_schema: Mapping[str, Any] | None
    grammar: str | None
    add_generation_prompt: bool | None
    continue_final_message: bool | Literal["content", "reasoning_content"] | None
    enable_thinking: bool | None
    reasoning_format: Literal["none", "auto", "deepseek", "deepseek-legacy"] | None
    chat_template_kwargs: Mapping[str, Any] | None
    now: float | None
    add_bos: bool | None
    add_eos: bool | None
    force_pure_content: bool | None


class ChatTemplates(Handle):
    """A chat template, as model files have it under ``tokenizer.chat_template``.

    Args:
        source: The template, in Jinja.
        bos: What ``bos_token`` stands for in it: the text of the token that begins a sequence.
        eos: What ``eos_token`` stands for in it.

    Raises:
        ChatTemplateError: It is empty, does not parse, or nests too deeply.
        TextError: A text holds a NUL character or is no Unicode.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        texts = [
            checks.c_string(text, what)
            for text, what in ((source, "chat template"), (bos, "BOS text"), (eos, "EOS text"))
        ]
        if len(texts[0]) > _SOURCE_BYTES_MAX:
            raise ChatTemplateError(
                f"the chat template has {len(texts[0])} bytes, at most {_SOURCE_BYTES_MAX} go"
            )
        error = ctypes.c_char_p()
        pointer = bridge("bridge_chat_templates_init")(*texts, ctypes.byref(error))
        if error:
            raise ChatTemplateError(f"the chat template cannot be used: {take_string(error)}")
        super().__init__(pointer, bridge("bridge_chat_templates_free"))

    def describe(self) -> dict[str, Any]:
        """What the template can do.

        Returns:
            ``source`` is the template, with the changes that the engine makes to a few;
            ``supports_thinking`` tells whether it knows of thoughts; ``caps`` has the booleans
            ``supports_tools``, ``supports_tool_calls``, ``supports_parallel_tool_calls``,
            ``supports_system_role``, ``supports_string_content``, ``supports_typed_content``,
            ``supports_object_arguments``, ``supports_preserve_reasoning`` and
            ``supports_reasoning_effort``.

        Raises:
            ClosedError: The handle is closed.
        """
        return self._ask("bridge_chat_templates_describe")

    def apply(
        self, messages: Sequence[Mapping[str, Any]], **options: Unpack[ChatOptions]
    ) -> dict[str, Any]:
        """Render a conversation.

        Args:
            messages: OpenAI's: ``role``, ``content`` (a text, or parts of type ``text`` or
                ``media_marker``), ``tool_calls``, ``tool_call_id``, ``name`` and
                ``reasoning_content``. What is None must be left out, but for ``content``.
            **options: Those that are None or absent have the engine's defaults.

                * ``tools``: OpenAI's, of type ``function``. ``tool_choice`` is ``"auto"`` without
                  more; ``parallel_tool_calls`` (False) allows several calls in one reply.
                * ``json_schema``: what a reply has to look like. Or ``grammar``: the same in GBNF,
                  which comes out as it is; not together with tools.
                * ``add_generation_prompt`` (True): begin the reply.
                * ``continue_final_message``: the last message is the beginning of the reply.
                * ``enable_thinking`` (True); ``reasoning_format`` (``"none"``): ``"auto"`` and
                  the others take thoughts out of the content of replies.
                * ``chat_template_kwargs``: more variables for the template; ``messages``,
                  ``tools``, ``bos_token``, ``eos_token`` and ``add_generation_prompt`` are not to
                  be replaced.
                * ``now``: seconds since 1970, for templates that tell the date.
                * ``add_bos``, ``add_eos``: the tokenizer adds these tokens, so that a prompt that
                  has their texts must lose them.
                * ``force_pure_content``: all of a reply is its content.

        Returns:
            * ``prompt``, and ``generation_prompt``, the part of it that begins the reply.
            * ``grammar`` (empty without one), ``grammar_lazy``: it counts from the first of the
              ``grammar_triggers`` on, dicts with ``type`` (``"word"``, ``"pattern"``,
              ``"pattern_full"``, ``"token"``) and ``value``.
            * ``preserved_tokens``: special tokens that a reply must be shown with.
            * ``additional_stops``: texts that end a reply.
            * ``supports_thinking``, ``thinking_start_tag``, ``thinking_end_tags``.
            * ``message_delimiters``: what messages begin with, by role.
            * ``format``, ``parser``: how ``parse`` reads a reply.

        Raises:
            ChatTemplateError: The template does not take these messages, or a message or an option
                has the wrong shape.
            InvalidArgumentError: Something is nested too deeply, or is no JSON.
            TextError: A text is no Unicode.
            ClosedError: The handle is closed.
        """
        variables = options.get("chat_template_kwargs")
        reserved = _RESERVED & variables.keys() if isinstance(variables, Mapping) else ()
        if reserved:
            raise ChatTemplateError(
                f"chat_template_kwargs={sorted(reserved)} cannot be set: the renderer does, from "
                "the arguments beside it. Give other names, or leave them out"
            )
        request = {"messages": messages, **options}
        encoded = _encoded(request, "the conversation")
        depth = depth_of_json(encoded.decode())
        if depth > _REQUEST_DEPTH_MAX:
            raise InvalidArgumentError(
                f"the conversation nests {depth} levels deep, at most {_REQUEST_DEPTH_MAX} go"
            )
        result = with_stack_for_levels(
            levels(request, "the conversation"),
            "the conversation",
            lambda: self._ask("bridge_chat_templates_apply", encoded),
        )
        return {**result, "parser": ParserText(result["parser"])}

    @staticmethod
    def parse(
        text: str | bytes, prompt: Mapping[str, Any], *, partial: bool = False
    ) -> dict[str, Any]:
        """Read one reply: ``ReplyParser(prompt).parse(text)``, which see."""
        with ReplyParser(prompt) as parser:
            return parser.parse(text, partial=partial)

    def _ask(self, name: str, *arguments: bytes) -> dict[str, Any]:
        function = bridge(name)
        return _answer(lambda *out: self.call(function, *arguments, *out), ChatTemplateError)


class ReplyParser(Handle):
    """Reads the replies to a prompt.

    Args:
        prompt: What ``ChatTemplates.apply`` returned, or of that ``format``,
            ``generation_prompt`` and ``parser``.

    Raises:
        InvalidArgumentError: It is something else.
    """

    def __init__(self, prompt: Mapping[str, Any]) -> None:
        checks.instance(prompt, Mapping, "prompt")
        parser, begun = prompt.get("parser"), prompt.get("generation_prompt")
        if not isinstance(parser, ParserText) or not isinstance(begun, str):
            raise InvalidArgumentError("the prompt is none that ChatTemplates.apply returned")
        self._begun = begun
        parameters = {"format": prompt.get("format"), "generation_prompt": begun, "parser": parser}
        error = ctypes.c_char_p()
        pointer = bridge("bridge_chat_parser_init")(
            _encoded(parameters, "the prompt"), ctypes.byref(error)
        )
        if error:
            raise InvalidArgumentError(f"the prompt has no parser: {take_string(error)}")
        super().__init__(pointer, bridge("bridge_chat_parser_free"))

    def parse(self, text: str | bytes, *, partial: bool = False) -> dict[str, Any]:
        """Read what the model wrote after the prompt.

        Args:
            text: The reply, without stop texts. Bytes that are no UTF-8 become U+FFFD.
            partial: It is not complete yet. What there is of it is returned; the beginning of
                what may become a tool call, the end of a thought or a character is held back.

        Returns:
            An assistant message of OpenAI's: ``role``, ``content`` (empty without one), and where
            there are any ``reasoning_content`` and ``tool_calls``, whose ``arguments`` are JSON
            texts.

        Raises:
            ChatParseError: The reply does not have the form of the template's replies.
            InvalidArgumentError: It nests too deeply.
            TextError: The text is no Unicode.
            ClosedError: The handle is closed.
        """
        reply = text if isinstance(text, bytes) else checks.encoded_text(text, "reply")
        function = bridge("bridge_chat_parser_parse")
        return with_stack_for_levels(
            depth_of_brackets(self._begun + reply.decode(errors="replace")),
            "the reply",
            lambda: _answer(
                lambda *out: self.call(function, reply, len(reply), partial, *out), ChatParseError
            ),
        )


def _answer(call: Callable[..., None], refused: type[LlamaError]) -> dict[str, Any]:
    answer, error = ctypes.c_char_p(), ctypes.c_char_p()
    call(ctypes.byref(answer), ctypes.byref(error))
    if error:
        raise refused(take_string(error))
    result: dict[str, Any] = json.loads(take_string(answer))
    return result


def _encoded(value: Mapping[str, Any], what: str) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{what} cannot be written as JSON: {error}") from None
    return checks.encoded_text(text, what.removeprefix("the "))
