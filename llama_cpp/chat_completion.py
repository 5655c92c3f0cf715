"""Chats: messages through a template to a prompt, and what the model writes back to a message."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from .completion import Choice, Generator, Job, Options, Run
from .errors import ChatTemplateError, InvalidArgumentError
from .handles import ChatTemplates, ReplyParser, Vocab
from .llama_grammar import LlamaGrammar
from .llama_types import CreateChatCompletionResponse, CreateChatCompletionStreamResponse
from .sampling.params import SamplingParams
from .text import StopStrings
from .text.builder import TokenRecord

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content"
    " + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""For models whose file has no template."""

_QUESTION = [{"role": "user", "content": "?"}]

_PATTERNS: Mapping[str, Callable[[str], str]] = {
    "word": lambda text: re.sub(r"([.^$|()*+?\[\]{}\\])", r"\\\1", text),
    "pattern": str,
    "pattern_full": lambda text: "^" + text.removeprefix("^").removesuffix("$") + "$",
}


def thinks_by_default(source: str) -> bool:
    """Whether a template asks for thoughts when nobody says anything about them.

    The engine always tells a template whether to think, so what the template does when it is not
    told is found out by hiding that from it.

    Args:
        source: The template.
    """
    if "enable_thinking" not in source:
        return True
    untold = "{%- set enable_thinking = a_name_without_a_value -%}" + source
    try:
        with ChatTemplates(untold) as templates:
            prompt = templates.apply(_QUESTION)["prompt"]
        with ChatTemplates(source) as templates:
            return bool(prompt != templates.apply(_QUESTION, enable_thinking=False)["prompt"])
    except ChatTemplateError:
        return True


class Conversation:
    """A conversation as a template renders it, ready to be continued.

    Args:
        templates: Renders the messages and reads the replies.
        vocab: The model's vocabulary.
        messages: OpenAI's messages.
        options: What ``ChatTemplates.apply`` takes.

    Raises:
        ChatTemplateError: The template does not take the messages.
    """

    def __init__(
        self,
        templates: ChatTemplates,
        vocab: Vocab,
        messages: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        self._rendered = templates.apply(
            [_clean(message) for message in messages],
            **cast("Any", {**given, "add_bos": vocab.add_bos, "add_eos": vocab.add_eos}),
        )
        ids = vocab.tokenize(self._rendered["prompt"], add_special=False, parse_special=True)
        self._has_own_grammar = "grammar" in given
        # The grammars that the engine makes of tools and schemas begin with the reply's beginning.
        self._begun = _spelled(vocab, self._rendered["generation_prompt"])
        starts = [vocab.bos] if vocab.add_bos and vocab.bos >= 0 and ids[:1] != [vocab.bos] else []
        self.prompt = starts + ids
        self.preserved = frozenset(
            ids[0]
            for text in self._rendered["preserved_tokens"]
            if len(ids := vocab.tokenize(text, add_special=False, parse_special=True)) == 1
        )

    def options(self, options: Options) -> Options:
        """Add the template's stops, grammar and special tokens to a request's options."""
        stops = cast("StopStrings", options.stop).stops
        rendered = self._rendered
        changed = replace(
            options, stop=[*stops, *rendered["additional_stops"]], preserved=self.preserved
        )
        if not rendered["grammar"]:
            return changed
        triggers = rendered["grammar_triggers"]
        patterns = [_PATTERNS[t["type"]](t["value"]) for t in triggers if t["type"] in _PATTERNS]
        tokens = [t["token"] for t in triggers if t["type"] == "token"]
        lazy = (patterns, tokens) if rendered["grammar_lazy"] else None
        return replace(
            changed,
            grammar=rendered["grammar"],
            lazy_grammar=lazy,
            grammar_prefix=() if self._has_own_grammar else self._begun,
        )

    def parser(self) -> ReplyParser:
        """Make what reads one reply."""
        return ReplyParser(self._rendered)


class ChatCompletionJob(Job):
    """One call of ``create_chat_completion``, which begins when its result is asked for.

    Args:
        generator: The model.
        conversation: What to continue.
        params: How tokens are chosen.
        options: The rest.
        model_name: What the results say the model is.
        legacy: Whether calls are told as ``function_call``, OpenAI's older form.
        include_usage: Whether a last chunk without choices tells the usage.
        before: Is called with the prompt.
        after: Is called when the replies are written.
    """

    def __init__(
        self,
        generator: Generator,
        conversation: Conversation,
        params: SamplingParams,
        options: Options,
        model_name: str,
        *,
        legacy: bool = False,
        include_usage: bool = False,
        before: Callable[[Sequence[int]], None],
        after: Callable[[], None],
    ) -> None:
        self._conversation = conversation
        self._after = after
        options = conversation.options(options)
        self._wants_logprobs = options.logprobs is not None

        def start() -> Run:
            before(conversation.prompt)
            return Run(generator, [conversation.prompt], params, options)

        super().__init__(start)
        self._legacy = legacy
        self._include_usage = include_usage
        self._head: Any = {
            "id": f"chatcmpl-{uuid.uuid4()}",
            "created": int(time.time()),
            "model": model_name,
        }

    def result(self) -> CreateChatCompletionResponse:
        """Wait for all replies and return them in OpenAI's shape.

        Raises:
            ChatParseError: A reply does not have the form of the template's replies.
        """
        run = self._begin()
        run.finish()
        self._after()
        choices = []
        for choice in run.choices:
            parts = list(choice.builder.parts)
            text = "".join(part for part, _ in parts)
            records = [record for _, new in parts for record in new]
            with self._conversation.parser() as parser:
                partial = choice.request.finish_reason == "length"
                message = _numbered(parser.parse(text, partial=partial))
            choices.append(
                {
                    "index": choice.index,
                    "message": _as_legacy(message) if self._legacy else message,
                    "logprobs": self._logprobs(run, records),
                    "finish_reason": self._reason(choice, message),
                }
            )
        whole = {**self._head, "object": "chat.completion", "choices": choices, "usage": run.usage}
        return cast("CreateChatCompletionResponse", whole)

    def chunks(self) -> Iterator[CreateChatCompletionStreamResponse]:
        """Yield the replies in OpenAI's shape as they come.

        Raises:
            ChatParseError: A reply does not have the form of the template's replies.
        """
        run = self._begin()
        replies = {
            choice.index: _Reply(self._conversation.parser(), legacy=self._legacy)
            for choice in run.choices
        }
        parts = run.parts()
        try:
            for choice in run.choices:
                yield self._chunk(choice, {"role": "assistant", "content": ""})
            for choice, text, records in parts:
                reply = replies[choice.index]
                is_last = choice.reported
                partial = not is_last or choice.request.finish_reason == "length"
                logprobs = self._logprobs(run, records)
                for delta in reply.add(text, partial=partial):
                    yield self._chunk(choice, delta, logprobs)
                    logprobs = None
                if logprobs is not None and logprobs["content"]:
                    yield self._chunk(choice, {"content": ""}, logprobs)
                if is_last:
                    reason = self._reason(choice, reply.message)
                    yield self._chunk(choice, {}, finish_reason=reason)
            self._after()
            if self._include_usage:
                last = {**self._head, "object": "chat.completion.chunk", "choices": []}
                yield cast("CreateChatCompletionStreamResponse", {**last, "usage": run.usage})
        finally:
            parts.close()

    def _reason(self, choice: Choice, message: Mapping[str, Any]) -> str | None:
        reason = choice.request.finish_reason
        if reason == "stop" and message.get("tool_calls"):
            return "function_call" if self._legacy else "tool_calls"
        return reason

    def _logprobs(self, run: Run, records: Sequence[TokenRecord]) -> Any:
        if not self._wants_logprobs:
            return None
        return {"content": [run.chat_logprob(record) for record in records], "refusal": None}

    def _chunk(
        self,
        choice: Choice,
        delta: Mapping[str, Any],
        logprobs: Any = None,
        finish_reason: str | None = None,
    ) -> CreateChatCompletionStreamResponse:
        part = {
            "index": choice.index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [part]}
        return cast("CreateChatCompletionStreamResponse", chunk)


class _Reply:
    """One reply while it comes, and what of it was handed out."""

    def __init__(self, parser: ReplyParser, *, legacy: bool) -> None:
        self._parser = parser
        self._legacy = legacy
        self._text = ""
        self.message: dict[str, Any] = {"content": ""}

    def add(self, text: str, *, partial: bool) -> list[dict[str, Any]]:
        """Return what is new in the message."""
        self._text += text
        before = self.message
        self.message = after = _numbered(self._parser.parse(self._text, partial=partial), before)
        deltas = [
            {name: after[name][len(before.get(name) or "") :]}
            for name in ("reasoning_content", "content")
            if len(after.get(name) or "") > len(before.get(name) or "")
        ]
        known = before.get("tool_calls", [])
        for index, call in enumerate(after.get("tool_calls", [])):
            told = len(known[index]["function"]["arguments"]) if index < len(known) else None
            if told is None or len(call["function"]["arguments"]) > told:
                deltas.append(_call_delta(index, call, told, legacy=self._legacy))
        return deltas


def _call_delta(
    index: int, call: Mapping[str, Any], told: int | None, *, legacy: bool
) -> dict[str, Any]:
    function = call["function"]
    part = {"arguments": function["arguments"][told or 0 :]}
    if told is None:
        part = {"name": function["name"], **part}
    if legacy:
        return {"function_call": part}
    start = {} if told is not None else {"id": call["id"], "type": "function"}
    return {"tool_calls": [{"index": index, **start, "function": part}]}


def _numbered(message: dict[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give every call an id, the one that it had before if it had one."""
    known = (before or {}).get("tool_calls", [])
    for index, call in enumerate(message.get("tool_calls", [])):
        call["type"] = "function"
        if index < len(known):
            call["id"] = known[index]["id"]
        elif not call.get("id"):
            call["id"] = f"call_{uuid.uuid4().hex[:24]}"
    if message.get("tool_calls") and not message.get("content"):
        message["content"] = None
    return message


def _as_legacy(message: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in message.items() if name != "tool_calls"}
    calls = message.get("tool_calls")
    return {**rest, "function_call": dict(calls[0]["function"])} if calls else rest


def _spelled(vocab: Vocab, text: str) -> list[int]:
    """Tokens that spell a text as it is.

    Some tokenizers put a space in front of it, and after special tokens; a grammar would not know
    that space.
    """
    spelled: list[int] = []
    rest = text.encode()
    for token in vocab.tokenize(text, add_special=False, parse_special=True):
        piece = vocab.token_to_piece(token, special=True)
        if rest.startswith(piece):
            spelled.append(token)
        else:
            piece = piece.removeprefix(b" ")
            # Behind a line feed no space is added.
            ids = vocab.tokenize(b"\n" + piece, add_special=False, parse_special=False)
            texts = [vocab.token_to_piece(each) for each in ids]
            start = texts.index(b"\n") + 1 if b"\n" in texts else 0
            spelled += ids[start:] if b"".join(texts[start:]) == piece else [token]
        rest = rest[len(piece) :]
    return spelled


def _clean(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without what is None, which templates take for something."""
    if not isinstance(message, Mapping):
        raise InvalidArgumentError(
            f"a message is a dict with a role and a content, not {message!r}"
        )
    cleaned = {name: value for name, value in message.items() if value is not None}
    if function := cleaned.pop("function_call", None):
        cleaned["tool_calls"] = [{"type": "function", "id": "call_0", "function": function}]
    return {"content": "", **cleaned}


def template_options(
    *,
    tools: Sequence[Mapping[str, Any]] | None,
    tool_choice: Any,
    functions: Sequence[Mapping[str, Any]] | None,
    function_call: Any,
    response_format: Mapping[str, Any] | None,
    grammar: LlamaGrammar | str | None,
) -> dict[str, Any]:
    """Translate OpenAI's arguments to those of ``ChatTemplates.apply``.

    Raises:
        InvalidArgumentError: They contradict each other, or name an unknown tool.
    """
    if functions is not None and tools is None:
        tools = [{"type": "function", "function": function} for function in functions]
        tool_choice = function_call
    if isinstance(tool_choice, Mapping):
        function = tool_choice.get("function", tool_choice)
        name = function.get("name")
        tools = [tool for tool in tools or () if tool["function"]["name"] == name]
        if not tools:
            raise InvalidArgumentError(f"tool_choice names {name!r}, which is none of the tools")
        tool_choice = "required"
    if tool_choice not in (None, "auto", "required", "none"):
        raise InvalidArgumentError(f"tool_choice={tool_choice!r} is not auto, required or none")
    if tool_choice == "none":
        tools = None
    rules = grammar if isinstance(grammar, str | None) else grammar._grammar
    return {
        "tools": list(tools) if tools else None,
        "tool_choice": tool_choice if tools else None,
        "json_schema": _schema(response_format),
        "grammar": rules,
    }


def _schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not isinstance(response_format, Mapping | None):
        raise InvalidArgumentError(
            f'response_format={response_format!r} must be a dict like {{"type": "json_object"}}'
        )
    kind = None if response_format is None else response_format.get("type", "text")
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return response_format.get("schema") or {"type": "object"}
    if kind == "json_schema" and "schema" in response_format.get("json_schema", {}):
        return cast("Mapping[str, Any]", response_format["json_schema"]["schema"])
    raise InvalidArgumentError(
        f"response_format={response_format!r} is none of the types text, json_object and "
        'json_schema (with {"json_schema": {"schema": ...}})'
    )
