"""Texts as tokens that say them and nothing else."""

from __future__ import annotations

from ..handles import Vocab


def spelled(vocab: Vocab, text: str, *, parse_special: bool = True) -> list[int]:
    """Return tokens that spell a text as it is.

    Some tokenizers put a space in front of it, and after special tokens; a grammar would not know
    that space.

    Args:
        vocab: The vocabulary.
        text: The text.
        parse_special: Whether the texts of special tokens become these.
    """
    tokens: list[int] = []
    rest = text.encode()
    for token in vocab.tokenize(text, add_special=False, parse_special=parse_special):
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
