"""Whether an instance can be written under a schema: ours, llguidance alone, the GBNF converter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice, permutations, product
from typing import Any, cast

import llguidance
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from llama_cpp.constraints.json_schema.converter import json_schema_to_gbnf
from llama_cpp.constraints.json_schema.enforceable import STYLE, enforceable
from llama_cpp.errors import GrammarError
from llama_cpp.handles import Model, samplers
from llama_cpp.models import tinychat

_SPELLINGS_MAX = 720

Reader = Callable[[str], bool]
"""Tells whether a text is accepted, byte by byte."""


def ours(schema: Any) -> Reader:
    """What is enforced here."""
    return matcher_reader(enforceable(schema).grammar)


def llguidance_alone(schema: Any) -> Reader:
    """What llguidance makes of the schema as it is."""
    if isinstance(schema, bool):
        raise GrammarError("a schema must be an object")
    options: Any = {**STYLE, "lenient": False}
    return matcher_reader(LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=options))


def gbnf(schema: Any) -> Reader:
    """What the engine's converter makes of it, as far as it goes."""
    rules = json_schema_to_gbnf(schema)
    vocab = _model().vocab

    def accepts(text: str) -> bool:
        sampler = samplers.grammar(vocab, rules)
        try:
            for byte in text.encode():
                sampler.accept(_byte_tokens()[byte])
            sampler.accept(vocab.eos)
        except GrammarError:
            return False
        return True

    return accepts


def matcher_reader(grammar: str) -> Reader:
    """Follow texts by a grammar of llguidance.

    Args:
        grammar: The grammar, in llguidance's own form.

    Raises:
        GrammarError: It does not compile.
    """
    limits = LLParserLimits(max_items_in_row=50_000)
    matcher = llguidance.LLMatcher(byte_tokenizer(), grammar, log_level=0, limits=limits)
    if matcher.is_error():
        raise GrammarError(matcher.get_error())

    def accepts(text: str) -> bool:
        state = matcher.deep_copy()
        tokens = list(text.encode())
        return state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting()

    return accepts


class _Bytes:
    """A vocabulary with a token for each byte, and one for the end."""

    is_tokenizer_wrapper = True
    bos_token_id = None
    eos_token_id = 256
    special_token_ids = (256,)
    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


@cache
def byte_tokenizer() -> LLTokenizer:
    """A tokenizer with a token for each byte; 256 is the end."""
    return LLTokenizer(cast("Any", _Bytes()), 257, eos_token=256, slices=[])


def spellings(instance: Any) -> Iterator[str]:
    """Texts of an instance: with its members in any order, whole numbers without a point."""
    for value in islice(_orders(instance), _SPELLINGS_MAX):
        yield json.dumps(value, ensure_ascii=False)


def _orders(value: Any) -> Iterator[Any]:
    if isinstance(value, float) and value.is_integer():
        yield int(value)
        yield value
    elif isinstance(value, list):
        yield from map(list, product(*([*islice(_orders(item), 24)] for item in value)))
    elif isinstance(value, dict):
        for names in permutations(value):
            inner = ([*islice(_orders(value[name]), 24)] for name in names)
            yield from (dict(zip(names, values, strict=True)) for values in product(*inner))
    else:
        yield value


@cache
def _model() -> Model:
    return Model(tinychat())


@cache
def _byte_tokens() -> list[int]:
    pieces = [_model().vocab.token_to_piece(token) for token in range(_model().vocab.n_tokens)]
    return [pieces.index(bytes([byte])) for byte in range(256)]
