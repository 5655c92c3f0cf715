"""How far reading or writing a model is: told to a callback, or shown by a bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable


def progress_callback(
    progress: bool | Callable[[float], bool | None], what: str = "loading"
) -> Callable[[float], bool | None] | None:
    """A callback for the fraction that is done: the caller's own, or a bar on a terminal."""
    if callable(progress):
        return progress
    if not progress or not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    bar = tqdm(total=100, desc=what, unit="%", leave=False)

    def advance(fraction: float) -> None:
        bar.update(round(100 * fraction) - bar.n)
        if fraction >= 1:
            bar.close()

    return advance
