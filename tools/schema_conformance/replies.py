"""Texts drawn at random from what a grammar of llguidance allows."""

from __future__ import annotations

from random import Random

from llguidance import LLMatcher, LLParserLimits

from .readers import byte_tokenizer

_END = 256
_CLOSING = frozenset(b'"}],')
_PLAIN = frozenset(range(32, 127))


def reply(grammar: str, chance: Random, n_max: int = 600) -> str | None:
    """Draw a text byte by byte, each as likely as the others, but for what ends something.

    Args:
        grammar: The grammar, in llguidance's own form.
        chance: Where to draw from.
        n_max: How many bytes it may have.

    Returns:
        The text, or None if it did not end.
    """
    limits = LLParserLimits(max_items_in_row=50_000)
    matcher = LLMatcher(byte_tokenizer(), grammar, log_level=0, limits=limits)
    found = bytearray()
    while len(found) < n_max:
        mask = matcher.compute_bitmask()
        allowed = [token for token in range(_END + 1) if mask[token // 8] >> token % 8 & 1]
        if not allowed or allowed == [_END]:
            return found.decode() if matcher.is_accepting() else None
        closing = [token for token in allowed if token == _END or token in _CLOSING]
        plain = [token for token in allowed if token in _PLAIN]
        if closing and chance.random() < 0.35:
            token = chance.choice(closing)
        elif plain and chance.random() < 0.9:
            token = chance.choice(plain)
        else:
            token = chance.choice(allowed)
        if token == _END:
            return found.decode()
        matcher.consume_token(token)
        found.append(token)
    return None
