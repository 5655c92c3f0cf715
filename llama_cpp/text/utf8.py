"""Bytes of tokens to text, without ever splitting a character."""

from __future__ import annotations

import codecs


class Utf8Decoder:
    """Decodes UTF-8 that arrives in pieces.

    A token may end in the middle of a character. What is incomplete is kept until the rest comes,
    so that nothing is decoded twice and a token costs the same at the end of a long text.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, piece: bytes) -> str:
        """Return the text that ``piece`` completes; bytes that are no UTF-8 become U+FFFD."""
        return self._decoder.decode(piece)

    def finish(self) -> str:
        """Return what is left at the end: U+FFFD if a character is incomplete, else nothing."""
        return self._decoder.decode(b"", final=True)

    @property
    def held(self) -> int:
        """How many bytes wait for the rest of their character."""
        return len(self._decoder.getstate()[0])
