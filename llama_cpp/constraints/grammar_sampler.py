"""Grammars as samplers: from the first token on, or from where something sets them off."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GrammarError
from ..handles import Model, Sampler, samplers
from ..handles.matcher import Matcher
from ..text import TriggerFinder, Triggers, Utf8Decoder
from . import regular
from .constraint import Constraint
from .gbnf import LlamaGrammar
from .spelling import spelled


def begun(
    model: Model, constraint: LlamaGrammar | str | Constraint, prefix: Sequence[int] = ()
) -> Sampler | Matcher:
    """Return the state of a constraint before a text.

    Args:
        model: The model.
        constraint: The constraint; a text is the rules of a grammar.
        prefix: Tokens that come before the text and that the constraint covers too.

    Raises:
        GrammarError: It does not compile, or does not allow the prefix.
    """
    if isinstance(constraint, LlamaGrammar | str):
        rules, root = _rules_of(constraint)
        # Special tokens say their texts in grammars of the engine, and nothing in expressions.
        names_special = any(text in rules for text in model.vocab.special_texts)
        expression = None if prefix or names_special else regular.guided(rules, root)
        if expression is None:
            return grammar_sampler(model, constraint, prefix)
        constraint = expression
    matcher = constraint.begin(model)
    for token in prefix:
        if matcher.accept(token) is False:
            raise GrammarError(f"the constraint does not allow token {token} of the prompt")
    return matcher


def grammar_sampler(
    model: Model, grammar: LlamaGrammar | str, prefix: Sequence[int] = ()
) -> Sampler:
    """Make a sampler that forbids what a grammar does not derive.

    Args:
        model: The model.
        grammar: The grammar, or its rules.
        prefix: Tokens that come before the text and that the grammar covers too.

    Raises:
        GrammarError: The rules do not parse, or do not derive the prefix.
    """
    sampler = samplers.grammar(model.vocab, *_rules_of(grammar))
    try:
        for token in prefix:
            sampler.accept(token)
    except GrammarError:
        sampler.close()
        raise
    return sampler


def _rules_of(grammar: LlamaGrammar | str) -> tuple[str, str]:
    return (grammar, "root") if isinstance(grammar, str) else (grammar.rules, grammar.root)


class LazyGrammar:
    """Waits in one text for what sets off a grammar.

    The engine has the like, which searches the whole text so far after every token.

    Args:
        model: The model.
        grammar: The grammar, or its rules.
        triggers: What sets it off.
    """

    def __init__(
        self, model: Model, grammar: LlamaGrammar | str | Constraint, triggers: Triggers
    ) -> None:
        self._model = model
        self._grammar = grammar
        self._triggers = triggers
        self._finder = TriggerFinder(triggers)
        self._decoder = Utf8Decoder()

    def after(self, token: int | str) -> Sampler | Matcher | None:
        """Take a token, or what of it counts; return the grammar when it begins to count.

        Raises:
            GrammarError: The rules do not parse.
        """
        vocab = self._model.vocab
        if not isinstance(token, str):
            token = self._decoder.feed(vocab.token_to_piece(token, special=True))
        found = self._finder.feed(token)
        if found is None:
            return None
        try:
            return begun(self._model, self._grammar, spelled(vocab, found))
        except GrammarError:
            # What follows in the same token does not fit, so it was only mentioned.
            self._finder = TriggerFinder(self._triggers)
            return None
