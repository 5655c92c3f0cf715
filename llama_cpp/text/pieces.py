"""``Pieces``: what each token says, asked for once."""

from __future__ import annotations

from collections.abc import Callable


class Pieces(dict[int, tuple[bytes, str | None]]):
    """The bytes of tokens, and their text where the bytes are whole characters.

    Args:
        piece_of: Returns the bytes of a token.
    """

    def __init__(self, piece_of: Callable[[int], bytes]) -> None:
        super().__init__()
        self._piece_of = piece_of

    def __missing__(self, token: int) -> tuple[bytes, str | None]:
        piece = self._piece_of(token)
        try:
            entry: tuple[bytes, str | None] = piece, piece.decode()
        except UnicodeDecodeError:
            entry = piece, None
        self[token] = entry
        return entry

    def name(self, token: int) -> str:
        """The token as log-probabilities name it: its text, or OpenAI's form for lone bytes."""
        piece, text = self[token]
        return text if text is not None else "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
