"""Conversations as a template renders them, ready to be continued."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, cast

from ..constraints.after_thoughts import AfterThoughts
from ..constraints.constraint import Constraint, is_guided, json_schema
from ..constraints.gbnf import LlamaGrammar
from ..constraints.json_schema.converter import check_json_schema
from ..constraints.spelling import spelled
from ..errors import ChatTemplateError, InvalidArgumentError
from ..generation.params import GenerationParams
from ..generation.thinking import ThinkingLimit
from ..handles import ChatTemplates, ReplyParser, Vocab
from ..text import ThoughtTags, Triggers
from .messages import ANY_VALUE, ROLES, ReplyForm, text_of
from .reply import Parser, PlainText
from .required_tool_call import Thoughts, calls_only, has_calls, one_call
from .special_text import SpecialTexts

_UNREADABLE = "Unable to generate parser for this template"
_QUESTION = [{"role": "user", "content": "?"}]

_PATTERNS: Mapping[str, Callable[[str], str]] = {
    "pattern": str,
    "pattern_full": lambda text: "^" + text.removeprefix("^").removesuffix("$") + "$",
}


class Conversation(Protocol):
    """What a chat completion continues."""

    prompt: Sequence[int]

    def options(self, options: GenerationParams) -> GenerationParams:
        """Add stops, a grammar and special tokens to a request's options."""

    def parser(self) -> Parser:
        """Make what reads one reply."""


class LoadedTemplate:
    """A chat template, with what is known of it.

    Args:
        source: The template, in Jinja.
        bos: The text of the token that begins a sequence.
        eos: The text of the one that ends it.

    Raises:
        ChatTemplateError: It does not parse.
    """

    def __init__(self, source: str, bos: str = "", eos: str = "") -> None:
        self.source = source
        try:
            self.templates = ChatTemplates(source, bos=bos, eos=eos)
        except ChatTemplateError as error:
            from .sandbox import syntax_error

            # The engine does not say where; Python's Jinja does.
            raise ChatTemplateError(syntax_error(source) or str(error)) from None
        # The engine takes an EOS after a made-up call for a part of the call (Mistral Small 3.2).
        self.for_reading = ChatTemplates(source) if eos else self.templates
        self.is_unreadable = False
        """Whether the engine was seen to not know how it writes replies."""

    def apply(
        self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Render a conversation: see ``ChatTemplates.apply``.

        All of a reply is its content where the engine does not find out how the template writes
        replies, as of one that dumps its messages.

        Raises:
            ChatTemplateError: The template does not take the messages.
        """
        if self.is_unreadable:
            return self._pure(messages, options)
        try:
            return self.templates.apply(messages, **cast("Any", options))
        except ChatTemplateError as error:
            if not str(error).startswith(_UNREADABLE):
                raise
        rendered = self._pure(messages, options)  # if that fails too, it says why
        self.is_unreadable = True
        return rendered

    def _pure(
        self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        how = options.get("continue_final_message")
        options = {**options, "force_pure_content": True, "continue_final_message": None}
        begun = ""
        if how:  # the engine forgets it
            messages, begun = messages[:-1], text_of(messages[-1]["content"])
        rendered = self.templates.apply(messages, **cast("Any", options))
        ends = {name: rendered[name] + begun for name in ("prompt", "generation_prompt")}
        return {**rendered, **ends}

    @cached_property
    def thinks_by_default(self) -> bool:
        """Whether it asks for thoughts when nobody says anything about them.

        The engine always tells a template whether to think, so what the template does when it is
        not told is found out by hiding that from it.
        """
        if "enable_thinking" not in self.source:
            return True
        untold = "{%- set enable_thinking = a_name_without_a_value -%}" + self.source
        try:
            with ChatTemplates(untold) as templates:
                prompt = templates.apply(_QUESTION)["prompt"]
            without = self.templates.apply(_QUESTION, enable_thinking=False)["prompt"]
        except ChatTemplateError:
            return True
        return bool(prompt != without)

    @cached_property
    def describes_tools(self) -> bool:
        """Whether it tells the model what tools there are."""
        return bool(self.templates.describe()["caps"]["supports_tools"])

    @cached_property
    def knows_efforts(self) -> bool:
        """Whether it tells the model how much effort to take in thinking."""
        return bool(self.templates.describe()["caps"]["supports_reasoning_effort"])

    @cached_property
    def roles(self) -> frozenset[str]:
        """OpenAI's roles, and those that the template compares roles with."""
        named = r"""role['"]?\]?\s*(?:==|!=|in)\s*[\[(]?['"](\w+)['"]"""
        return frozenset((*ROLES, *re.findall(named, self.source)))


def _is_whole_reply(rendered: Mapping[str, Any]) -> bool:
    """Whether the engine's grammar for a schema has nothing but the JSON in it, and thoughts."""
    rules = dict(
        line.split(" ::= ", 1) for line in rendered["grammar"].splitlines() if " ::= " in line
    )
    root, reply = rules.get("root", "?"), rules.get("response-format", "")
    names = set(_RULE_NAME.findall(_LITERAL.sub("", root)))
    known = {
        rendered["thinking_start_tag"], *rendered["thinking_end_tags"], *_FENCES, "\n",
        rendered["generation_prompt"],
    }  # fmt: skip
    literals = {json.loads(each) for each in _LITERAL.findall(root)}
    begins = any(rendered["generation_prompt"].startswith(each) for each in literals - known)
    return (
        all(map(_PASSED_RULE.fullmatch, names))
        and len(literals - known) <= begins
        and (not literals & {*_FENCES} or _UNFENCED in root)
        and not _LITERAL.search(reply)
        and bool(reply or "response-format-schema" in names)
    )


_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
_RULE_NAME = re.compile(r"[\w?-]*[\w-]")
_PASSED_RULE = re.compile(r"space|response-format(-schema)?|(until|ac)-\d+")
_FENCES = ("```json", "```")
_UNFENCED = "| space response-format space)"


def _thought_tags(rendered: Mapping[str, Any]) -> ThoughtTags | None:
    start, ends = rendered["thinking_start_tag"], rendered["thinking_end_tags"]
    if not start or not ends:
        return None
    delimiters = rendered["message_delimiters"]
    starts = [each["delimiter"] for each in delimiters if each["role"] == "assistant"]
    return ThoughtTags(start, ends, rendered["generation_prompt"], next(iter(starts), ""))


class TemplateConversation:
    """A conversation as one of the engine's templates renders it.

    Args:
        template: Renders the messages and reads the replies.
        vocab: The model's vocabulary.
        messages: Checked messages.
        form: What the reply has to look like.
        options: Further ones of ``ChatTemplates.apply``.
        special_texts: Keeps special tokens out of what the messages say; None lets them be parsed.

    Raises:
        ChatTemplateError: The template does not take the messages.
    """

    def __init__(
        self,
        template: LoadedTemplate,
        vocab: Vocab,
        messages: Sequence[Mapping[str, Any]],
        form: ReplyForm,
        options: Mapping[str, Any],
        special_texts: SpecialTexts | None = None,
    ) -> None:
        self._template = template
        self._own_grammar: LlamaGrammar | str | Constraint | None = form.grammar
        given = {
            **options,
            "tools": list(form.tools) or None,
            "tool_choice": form.tool_choice if form.tools else None,
            "parallel_tool_calls": form.parallel,
            "json_schema": None if form.schema is None else ANY_VALUE,
            "add_bos": vocab.add_bos,
            "add_eos": vocab.add_eos,
        }
        given = {name: value for name, value in given.items() if value is not None}
        rendered = template.apply(messages, given)
        if form.schema is not None:
            # A reply that has begun is a part of the JSON, which the engine's grammar knows.
            goes_on = bool(options.get("continue_final_message"))
            if is_guided() and not goes_on and _is_whole_reply(rendered):
                self._own_grammar = json_schema(form.schema, strict=form.strict)
                rendered["grammar"] = ""
            else:
                given["json_schema"] = check_json_schema(form.schema, allow_unsupported=True)
                rendered = template.apply(messages, given)
        self._rendered = rendered
        self._is_plain = template.is_unreadable
        prompt: str = rendered["prompt"]
        if form.schema is not None and not rendered["grammar"] and self._own_grammar is None:
            self._own_grammar = json_schema(form.schema, strict=form.strict)
        reads_alike = template.for_reading is template.templates or template.is_unreadable
        if form.tools and not reads_alike:
            read = template.for_reading.apply(messages, **cast("Any", given))
            if read["generation_prompt"] == rendered["generation_prompt"]:
                self._rendered = rendered = read
        self.has_calls = bool(form.tools) and has_calls(json.loads(rendered["parser"]))
        if special_texts is not None and special_texts.found_in(messages):
            tags = [rendered["thinking_start_tag"], *rendered["thinking_end_tags"]]
            marked, mark = special_texts.marked(messages, tags)
            prompt = template.apply(marked, given)["prompt"]
            ids = special_texts.tokenize(prompt, mark)
        else:
            ids = vocab.tokenize(prompt, add_special=False, parse_special=True)
        starts = [vocab.bos] if vocab.add_bos and vocab.bos >= 0 and ids[:1] != [vocab.bos] else []
        self.prompt: Sequence[int] = starts + ids
        self._grammar: str = rendered["grammar"]
        self._admits_no_thought = False
        if not form.parallel:
            self._grammar = one_call(self._grammar)
        if form.tool_choice == "required":
            self._grammar = self._calls_only(bool(given.get("enable_thinking", True)))
        self._thoughts = thoughts = _thought_tags(rendered)
        own = self._own_grammar
        if thoughts is not None and isinstance(own, Constraint):
            # The engine admits thoughts also where a template knows of none.
            may_think = thoughts.start in template.source and given.get("enable_thinking", True)
            self._own_grammar = AfterThoughts(own, thoughts, may_think=bool(may_think))
        # The grammars that the engine makes begin with the reply's beginning.
        self._begun = spelled(vocab, self._rendered["generation_prompt"])
        self._preserved = frozenset(
            ids[0]
            for text in self._rendered["preserved_tokens"]
            if len(ids := vocab.tokenize(text, add_special=False, parse_special=True)) == 1
        )

    @property
    def generation_prompt(self) -> str:
        """The part of the prompt that begins the reply."""
        return str(self._rendered["generation_prompt"])

    @property
    def thinking_start_tag(self) -> str:
        """What a thought begins with; nothing where the template knows of none."""
        return str(self._rendered["thinking_start_tag"])

    def _calls_only(self, thinks: bool) -> str:
        rendered = self._rendered
        _, tag, begun = rendered["generation_prompt"].rpartition(
            rendered["thinking_start_tag"] or "\0"
        )
        thoughts: Thoughts = "wanted" if thinks or tag else "unwanted"
        if not thinks and tag and begun.strip() in ("", *rendered["thinking_end_tags"]):
            thoughts = "begun"
        self._admits_no_thought = thoughts == "begun"
        grammar = calls_only(self._grammar, self._rendered["parser"], thoughts)
        return self._grammar if grammar is None else grammar

    def _limit(self, limit: ThinkingLimit) -> ThinkingLimit:
        """How much may be thought under the grammar that there is."""
        if not isinstance(self._own_grammar, AfterThoughts | None):
            return ThinkingLimit()  # it says by itself whether there are thoughts
        ends = () if self._thoughts is None else self._thoughts.ends
        if any(end in (limit.end_message or "") for end in ends):
            raise InvalidArgumentError(
                f"thinking_end_message={limit.end_message!r} has what ends a thought, which is "
                "added to it: leave that out"
            )
        limit = limit.without_effort(is_told=self._template.knows_efforts)
        return replace(limit, end_message=None) if self._admits_no_thought else limit

    def options(self, options: GenerationParams) -> GenerationParams:
        """Add the template's stops, grammar and special tokens to a request's options."""
        changed = replace(
            options.with_stops(self._rendered["additional_stops"]),
            preserved=self._preserved,
            grammar=self._own_grammar,
            thoughts=self._thoughts,
            thinking=self._limit(options.thinking),
        )
        if not self._grammar:
            return changed
        if not self._rendered["grammar_lazy"]:
            return replace(changed, grammar=self._grammar, grammar_prefix=self._begun)
        triggers = self._rendered["grammar_triggers"]
        words = [each["value"] for each in triggers if each["type"] in ("word", "token")]
        patterns = [
            _PATTERNS[each["type"]](each["value"]) for each in triggers if each["type"] in _PATTERNS
        ]
        return replace(changed, grammar=self._grammar, triggers=Triggers(words, patterns))

    def parser(self) -> Parser:
        """Make what reads one reply."""
        return PlainText() if self._is_plain else ReplyParser(self._rendered)
