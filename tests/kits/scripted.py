"""A logits processor that has a model write a given text."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from llama_cpp.llama import Llama


class Script:
    """Leaves one token at each place: those of a text, then the end.

    Args:
        llm: The model that is to write it.
        text: The text; special tokens in it are tokens.
    """

    def __init__(self, llm: Llama, text: str) -> None:
        self.tokens = llm.tokenize(text.encode(), add_bos=False, special=True)
        self._rest = [*self.tokens, llm.token_eos()]

    def __call__(self, ids: npt.NDArray[Any], row: npt.NDArray[np.float32]) -> Any:
        token = self._rest.pop(0)
        only = np.full_like(row, -np.inf)
        only[token] = 0
        return only
