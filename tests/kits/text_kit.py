"""Naive versions of what ``llama_cpp.text`` does in one pass, and bytes to try them with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st


def naive_cut(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """The text before the first stop string to be complete, the longest of them if several are."""
    so_far = ""
    for character in text:
        so_far += character
        complete = [stop for stop in stops if so_far.endswith(stop)]
        if complete:
            longest = max(complete, key=len)
            return so_far[: len(so_far) - len(longest)], longest
    return text, None


def naive_held(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of the text may still become a stop string."""
    lengths = [
        length
        for stop in stops
        for length in range(1, min(len(stop), len(text) + 1))
        if text.endswith(stop[:length])
    ]
    return max(lengths, default=0)


@st.composite
def byte_pieces(draw: st.DrawFn) -> list[bytes]:
    """Texts and bytes that are none, cut anywhere."""
    texts = st.text(alphabet="abé€😀\ud7ff\ufffd", max_size=6).map(str.encode)
    whole = b"".join(draw(st.lists(texts | st.binary(max_size=4), max_size=4)))
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    return [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]
