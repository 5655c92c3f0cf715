"""Grammars as samplers: from the first token on, or from where something sets them off."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GrammarError
from ..handles import Model, Sampler, Vocab, samplers
from ..text import TriggerFinder, Triggers, Utf8Decoder
from .gbnf import LlamaGrammar


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
    text, root = (grammar, "root") if isinstance(grammar, str) else (grammar.rules, grammar.root)
    sampler = samplers.grammar(model.vocab, text, root)
    for token in prefix:
        sampler.accept(token)
    return sampler


class LazyGrammar:
    """Waits in one text for what sets off a grammar.

    The engine has the like, which searches the whole text so far after every token.

    Args:
        model: The model.
        grammar: The grammar, or its rules.
        triggers: What sets it off.
    """

    def __init__(self, model: Model, grammar: LlamaGrammar | str, triggers: Triggers) -> None:
        self._model = model
        self._grammar = grammar
        self._triggers = triggers
        self._finder = TriggerFinder(triggers)
        self._decoder = Utf8Decoder()

    def after(self, token: int) -> Sampler | None:
        """Take a token; return the grammar when it begins to count.

        Raises:
            GrammarError: The rules do not parse.
        """
        vocab = self._model.vocab
        begun = self._finder.feed(self._decoder.feed(vocab.token_to_piece(token, special=True)))
        if begun is None:
            return None
        sampler = grammar_sampler(self._model, self._grammar)
        try:
            for each in spelled(vocab, begun):
                sampler.accept(each)
        except GrammarError:
            # What follows in the same token does not fit, so it was only mentioned.
            sampler.close()
            self._finder = TriggerFinder(self._triggers)
            return None
        return sampler


def spelled(vocab: Vocab, text: str) -> list[int]:
    """Return tokens that spell a text as it is.

    Some tokenizers put a space in front of it, and after special tokens; a grammar would not know
    that space.

    Args:
        vocab: The vocabulary.
        text: The text.
    """
    tokens: list[int] = []
    rest = text.encode()
    for token in vocab.tokenize(text, add_special=False, parse_special=True):
        piece = vocab.token_to_piece(token, special=True)
        if rest.startswith(piece):
            tokens.append(token)
        else:
            piece = piece.removeprefix(b" ")
            # Behind a line feed no space is added.
            ids = vocab.tokenize(b"\n" + piece, add_special=False, parse_special=False)
            texts = [vocab.token_to_piece(each) for each in ids]
            start = texts.index(b"\n") + 1 if b"\n" in texts else 0
            tokens += ids[start:] if b"".join(texts[start:]) == piece else [token]
        rest = rest[len(piece) :]
    return tokens
