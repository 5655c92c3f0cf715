"""Chat completions as objects of the ``openai`` package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import LlamaError


def openai_shape() -> Callable[[Any, bool], Any]:
    """Return what turns a chat completion, or the iterator of its chunks, into objects.

    Raises:
        LlamaError: The openai package is not installed.
    """
    try:
        from openai.types.chat import ChatCompletion, ChatCompletionChunk
    except ImportError:
        raise LlamaError("the openai package is needed for this: pip install openai") from None

    def shaped(answer: Any, stream: bool) -> Any:
        if stream:
            return (ChatCompletionChunk(**chunk) for chunk in answer)
        return ChatCompletion(**answer)

    return shaped
