"""The formats of Functionary models: a reply says first to whom it goes, the user or a function.

Later versions (3.1, 3.2) have templates that the engine knows. The forms of versions 1 and 2 are
from the models' cards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...constraints.gbnf import LlamaGrammar
from ...constraints.json_schema.converter import json_schema_to_gbnf
from ...generation.params import GenerationParams
from ...handles import Vocab
from ..messages import ROLES, ReplyForm, text_of
from ..reply import Parser
from ..special_text import SpecialTexts

_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. The assistant calls functions "
    "with appropriate input when necessary"
)


@dataclass(frozen=True)
class Dialect:
    """How messages are written; in the texts, ``{to}`` is a recipient and ``{name}`` a speaker.

    Attributes:
        system: A system message.
        user: What the user says.
        text: A reply to the user, from its recipient on.
        call: A call, from its recipient on.
        begin: Begins a reply, up to its recipient.
        end: EndTokens a reply.
        result: The result of a call.
        to_user: A recipient: the user.
        to_function: Another one: a function.
        stops: Texts that end a reply.
    """

    system: str
    user: str
    begin: str
    end: str
    result: str
    to_user: str
    to_function: str
    stops: tuple[str, ...]
    is_parallel: bool = False


_V1 = Dialect(
    system="system:\n{content}\n", user="user:\n</s>{content}\n", begin="assistant", end="</s>\n",
    result="function name=functions.{name}:\n{content}\n",
    to_user=":\n", to_function=" to=functions.{name}:\n", stops=("user:", "</s>"),
)  # fmt: skip
_V2 = Dialect(
    system="<|from|>system\n<|recipient|>all\n<|content|>{content}\n",
    user="<|from|>user\n<|recipient|>all\n<|content|>{content}\n",
    begin="<|from|>assistant\n<|recipient|>", end="<|stop|>\n",
    result="<|from|>{name}\n<|recipient|>all\n<|content|>{content}\n",
    to_user="all\n<|content|>", to_function="{name}\n<|content|>",
    stops=("<|stop|>", "<|from|>user"), is_parallel=True,
)  # fmt: skip

FUNCTIONARY: Mapping[str, Dialect] = {
    "functionary": _V1, "functionary-v1": _V1, "functionary-v2": _V2,
}  # fmt: skip
"""The dialects by the names of their formats."""


class FunctionaryRenderer:
    """Renders in a dialect.

    Args:
        name: Of the format.
    """

    roles = ROLES
    thinks_by_default = False
    stops: Sequence[str] = ()

    def __init__(self, name: str) -> None:
        self._dialect = FUNCTIONARY[name]

    def render(
        self,
        vocab: Vocab,
        messages: Sequence[Mapping[str, Any]],
        form: ReplyForm,
        options: Mapping[str, Any],
        special_texts: SpecialTexts | None,
    ) -> FunctionaryConversation:
        """Render a conversation; see ``Renderer``."""
        return FunctionaryConversation(self._dialect, vocab, messages, form, special_texts)


class FunctionaryConversation:
    """A conversation in a dialect.

    Args:
        dialect: The dialect.
        vocab: The model's vocabulary.
        messages: Checked messages.
        form: What the reply has to look like.
        special_texts: Keeps special tokens out of what the messages say; None lets them be parsed.
    """

    def __init__(
        self,
        dialect: Dialect,
        vocab: Vocab,
        messages: Sequence[Mapping[str, Any]],
        form: ReplyForm,
        special_texts: SpecialTexts | None,
    ) -> None:
        self._dialect = dialect
        self._form = form
        if special_texts is not None and special_texts.found_in(messages):
            messages, mark = special_texts.marked(messages)
            ids = special_texts.tokenize(_prompt(dialect, messages, form.tools), mark)
        else:
            prompt = _prompt(dialect, messages, form.tools)
            ids = vocab.tokenize(prompt, add_special=False, parse_special=True)
        starts = [vocab.bos] if vocab.add_bos and vocab.bos >= 0 else []
        self.prompt: Sequence[int] = starts + ids
        markers = ("<|from|>", "<|recipient|>", "<|content|>")
        self._preserved = frozenset(
            vocab.special_texts[each] for each in markers if each in vocab.special_texts
        )

    def options(self, options: GenerationParams) -> GenerationParams:
        """Add the dialect's stops, grammar and special tokens to a request's options."""
        return replace(
            options.with_stops(self._dialect.stops),
            preserved=self._preserved,
            grammar=self._grammar(),
        )

    def parser(self) -> Parser:
        """Make what reads one reply."""
        return _RecipientParser(self._dialect)

    def _grammar(self) -> str:
        dialect, form = self._dialect, self._form
        rules: list[str] = []
        text = json.dumps(dialect.to_user) + " "
        if form.schema is not None:
            reply = json_schema_to_gbnf(form.schema, allow_unsupported=True)
            rules += _prefixed(reply, "reply-")
            text += "reply-root"
        elif isinstance(form.grammar, LlamaGrammar | str):
            own = form.grammar if isinstance(form.grammar, str) else form.grammar.rules
            rules += _prefixed(own, "reply-")
            text += "reply-root"
        else:
            text += r"[^\x00]*"
        calls: list[str] = []
        for number, tool in enumerate(form.tools):
            function = tool["function"]
            schema = json.dumps(function.get("parameters") or {"type": "object"})
            prefix = f"tool-{number}-"
            rules += _prefixed(json_schema_to_gbnf(schema, allow_unsupported=True), prefix)
            head = json.dumps(dialect.to_function.replace("{name}", function["name"]))
            calls.append(f"{head} {prefix}root")
        if calls:
            rules.append("call ::= " + " | ".join(calls))
            between = json.dumps("\n" + dialect.begin)
            more = f"({between} call)*" if form.parallel and dialect.is_parallel else ""
            rules.append(f"calls ::= call {more}")
        rules.append(f"text ::= {text}")
        root = {"required": "calls", "auto": "text | calls", "none": "text"}[form.tool_choice]
        return "\n".join([*rules, f"root ::= {root}"])


class _RecipientParser:
    """Reads replies that begin with their recipients."""

    def __init__(self, dialect: Dialect) -> None:
        before, after = map(re.escape, dialect.to_function.split("{name}"))
        self._to_function = re.compile(before + r"([\w.-]+)" + after)
        self._to_user = dialect.to_user
        self._between = "\n" + dialect.begin if dialect.is_parallel else None

    def parse(self, text: str, *, partial: bool = False) -> dict[str, Any]:
        """Return the message."""
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        for part in text.split(self._between) if self._between else [text]:
            if part.startswith(self._to_user):
                message["content"] += part.removeprefix(self._to_user)
            elif found := self._to_function.match(part):
                function = {"name": found[1], "arguments": part[found.end() :]}
                message.setdefault("tool_calls", []).append({"function": function})
            elif not partial:
                message["content"] += part
        return message

    def close(self) -> None:
        """Free nothing."""


def _prompt(
    dialect: Dialect, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> str:
    parts = [dialect.system.format(content=_type_script(tools))]
    if tools:
        parts.append(dialect.system.format(content=_SYSTEM))
    names: dict[str, str] = {}
    for message in messages:
        role, content = message["role"], text_of(message["content"])
        if role == "assistant":
            calls = [call["function"] for call in message.get("tool_calls", [])]
            names |= {
                call.get("id", ""): call["function"]["name"]
                for call in message.get("tool_calls", [])
            }
            texts = [dialect.to_user + content] if content or not calls else []
            texts += [
                dialect.to_function.replace("{name}", f["name"]) + str(f["arguments"])
                for f in calls
            ]
            parts.append("\n".join(dialect.begin + text for text in texts) + dialect.end)
        elif role == "tool":
            name = message.get("name") or names.get(message.get("tool_call_id", ""), "")
            parts.append(dialect.result.replace("{name}", name).replace("{content}", content))
        else:
            form = dialect.user if role == "user" else dialect.system
            parts.append(form.replace("{content}", content))
    return "".join(parts) + dialect.begin


def _type_script(tools: Sequence[Mapping[str, Any]]) -> str:
    """Describe tools as the models were trained to read them."""
    lines = ["// Supported function definitions that should be called when necessary."]
    lines += ["namespace functions {", ""]
    for tool in tools:
        function = tool["function"]
        parameters = function.get("parameters") or {}
        if description := function.get("description"):
            lines.append(f"// {description}")
        fields = _fields(parameters)
        body = "\n".join(["_: {", *fields, "}"]) if fields else ""
        lines += [f"type {function['name']} = ({body}) => any;", ""]
    return "\n".join([*lines, "} // namespace functions"])


def _fields(schema: Mapping[str, Any]) -> list[str]:
    required = schema.get("required", [])
    lines = []
    for name, value in schema.get("properties", {}).items():
        if isinstance(value, Mapping) and (description := value.get("description")):
            lines.append(f"// {description}")
        lines.append(f"{name}{'' if name in required else '?'}: {_type(value)},")
    return lines


def _type(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    if "enum" in schema:
        return " | ".join(json.dumps(each, ensure_ascii=False) for each in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return f"{_type(schema.get('items'))}[]"
    if kind == "object":
        return "{ " + " ".join(_fields(schema)) + " }"
    return {"integer": "number", "string": "string", "number": "number", "boolean": "boolean",
            "null": "null"}.get(str(kind), "any")  # fmt: skip


_GBNF_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|[A-Za-z][\w-]*|#[^\n]*')


def _prefixed(grammar: str, prefix: str) -> list[str]:
    """Rename the rules of a grammar."""

    def rename(piece: re.Match[str]) -> str:
        return prefix + piece[0] if piece[0][0].isalpha() else piece[0]

    return _GBNF_PIECE.sub(rename, grammar).splitlines()
