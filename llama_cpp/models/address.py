"""``ModelAddress``: the address of a model, as ``Llama.model``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import llama_cpp as raw
from .._internals import LlamaModel

if TYPE_CHECKING:
    from typing_extensions import Self


class ModelAddress(raw.llama_model_p):
    """The address of a model, for raw calls, which knows the texts of its tokens too."""

    def __new__(cls, model: LlamaModel) -> Self:
        """Take the address of this model."""
        return super().__new__(cls, int(model.model))

    def __init__(self, model: LlamaModel) -> None:
        super().__init__(int(self))
        self._model = model

    def token_to_piece(self, token: int, special: bool = False) -> bytes:
        """The bytes that one token stands for."""
        return self._model.token_to_piece(token, special)
