"""``Constraint``: what a text has to look like, and how calls say so."""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ..errors import GrammarError, InvalidArgumentError
from ..handles import Model, Sampler
from ..handles.matcher import Matcher
from ..validation.native_arguments import encoded_text
from . import guidance
from .gbnf import LlamaGrammar

_log = logging.getLogger("llama_cpp")

CHOICES_MAX = 100_000
"""How many texts ``choices`` may have."""


@runtime_checkable
class Constraint(Protocol):
    """What a text has to look like. It is compiled once, and begun for each text."""

    def begin(self, model: Model) -> Sampler | Matcher:
        """Return its state before the first token.

        Raises:
            GrammarError: It does not compile for the model's vocabulary.
        """


class _Gbnf:
    """A grammar that the engine itself follows."""

    def __init__(self, grammar: LlamaGrammar) -> None:
        self._grammar = grammar

    def begin(self, model: Model) -> Sampler:
        from ..handles import samplers

        return samplers.grammar(model.vocab, self._grammar.rules, self._grammar.root)


def json_schema(schema: Mapping[str, Any] | str | bool, *, strict: bool = False) -> Constraint:
    """Have a text be JSON that a schema allows, written as ``json.dumps`` writes it.

    Without llguidance (extra ``structured``) it is a GBNF grammar, which knows fewer keywords.

    Args:
        schema: The schema, as JSON text or as a dict.
        strict: Whether a keyword that cannot be enforced is an error instead of a warning.

    Raises:
        GrammarError: It is no JSON schema, is too large, or cannot be enforced.
    """
    text = schema if isinstance(schema, str) else _as_json(schema)
    if not is_guided():
        return _Gbnf(LlamaGrammar.from_json_schema(text, allow_unsupported=not strict))
    return guidance.json_schema(text, strict=strict)


def regex(pattern: str) -> Constraint:
    r"""Have a text match a regular expression from its first character to its last.

    Args:
        pattern: In the syntax of Rust's ``regex``: no look-around, no back-references; ``\d`` is
            0 to 9.

    Raises:
        GrammarError: It does not parse, or is too complex.
        InvalidArgumentError: llguidance is not installed.
    """
    if not isinstance(pattern, str) or not pattern:
        raise InvalidArgumentError(f"regex={pattern!r} must be a text that is not empty")
    encoded_text(pattern, "regular expression")
    _need_guidance("regex")
    return guidance.regex(pattern)


def lark(grammar: str) -> Constraint:
    """Have a text follow a grammar in llguidance's variant of Lark.

    Raises:
        GrammarError: It does not parse.
        InvalidArgumentError: llguidance is not installed.
    """
    if not isinstance(grammar, str):
        raise InvalidArgumentError(f"lark={grammar!r} must be a text")
    encoded_text(grammar, "grammar")
    _need_guidance("lark")
    return guidance.lark(grammar)


def choices(options: Sequence[str]) -> Constraint:
    """Have a text be one of several.

    Args:
        options: The texts, at least one; none may be empty.

    Raises:
        InvalidArgumentError: There are none, too many, or one is no text.
    """
    if isinstance(options, str) or not isinstance(options, Sequence) or not options:
        raise InvalidArgumentError(f"choices={options!r} must be a list of at least one text")
    if len(options) > CHOICES_MAX:
        raise InvalidArgumentError(f"{len(options)} choices are more than {CHOICES_MAX}")
    for each in options:
        if not isinstance(each, str) or not each:
            raise InvalidArgumentError(f"a choice must be a text that is not empty, not {each!r}")
        encoded_text(each, "choice")
    if is_guided():
        return guidance.regex("|".join(map(re.escape, options)))
    quoted = (json.dumps(each, ensure_ascii=False).replace("\\/", "/") for each in options)
    return _Gbnf(LlamaGrammar.from_string("root ::= " + " | ".join(quoted)))


def constraint_of(
    *,
    grammar: LlamaGrammar | str | Constraint | None = None,
    schema: Mapping[str, Any] | str | None = None,
    regex: str | None = None,
    choices: Sequence[str] | None = None,
    lark: str | None = None,
) -> LlamaGrammar | str | Constraint | None:
    """Return the one constraint that a call asks for.

    Raises:
        InvalidArgumentError: It asks for more than one, or for none that is known.
        GrammarError: It cannot be used.
    """
    given = {
        "grammar": grammar, "schema": schema, "regex": regex, "choices": choices, "lark": lark,
    }  # fmt: skip
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise InvalidArgumentError(f"give one of {', '.join(names)}, not {len(names)} of them")
    if not names:
        return None
    if names == ["grammar"]:
        if not isinstance(grammar, LlamaGrammar | str | Constraint):
            raise InvalidArgumentError(
                f"grammar={grammar!r} must be a LlamaGrammar, or rules as a text"
            )
        return grammar
    return _MAKERS[names[0]](given[names[0]])


_MAKERS: dict[str, Callable[[Any], Constraint]] = {
    "schema": json_schema, "regex": regex, "choices": choices, "lark": lark,
}  # fmt: skip


def _as_json(schema: Any) -> str:
    try:
        return json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise GrammarError(f"the JSON schema is none: {error}") from None


@functools.cache
def is_guided() -> bool:
    """Whether llguidance is there; if it is not, the log says so once."""
    if guidance.is_installed():
        return True
    _log.warning(
        "llguidance is not installed: JSON schemas become GBNF grammars, which are slower and "
        "know fewer keywords (pip install llguidance jsonschema)"
    )
    return False


def _need_guidance(name: str) -> None:
    if not guidance.is_installed():
        raise InvalidArgumentError(
            f"the llguidance package is needed for {name}: pip install llguidance jsonschema"
        )
