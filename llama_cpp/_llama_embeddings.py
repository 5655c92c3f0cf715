"""What ``Llama`` offers for embeddings."""

from __future__ import annotations

from typing import Any, cast

from . import embeddings
from ._llama_sequence import LlamaSequence
from .errors import ContextError, InvalidArgumentError
from .llama_types import CreateEmbeddingResponse


class LlamaEmbeddings(LlamaSequence):
    """The part of ``Llama`` for embeddings."""

    model_path: str

    def create_embedding(
        self,
        input: str | list[str],  # noqa: A002 - OpenAI's name
        model: str | None = None,
    ) -> CreateEmbeddingResponse:
        """Embed texts.

        Args:
            input: A text, or a list of them.
            model: What the result says the model is.

        Returns:
            OpenAI's embedding object.

        Raises:
            ContextError: The model was created without ``embedding=True``.
            InvalidArgumentError: There is no text.
        """
        texts = [input] if isinstance(input, str) else input
        rows, count = self.embed(texts, return_count=True)
        data = [
            {"object": "embedding", "embedding": row, "index": index}
            for index, row in enumerate(rows)
        ]
        return cast(
            "CreateEmbeddingResponse",
            {
                "object": "list",
                "data": data,
                "model": model if model is not None else self.model_path,
                "usage": {"prompt_tokens": count, "total_tokens": count},
            },
        )

    def embed(
        self,
        input: str | list[str],  # noqa: A002 - OpenAI's name
        normalize: bool | int = False,
        truncate: bool = True,
        return_count: bool = False,
    ) -> Any:
        """Embed a text or a list of texts.

        Args:
            input: The texts.
            normalize: True scales to Euclidean length 1; a number is llama.cpp's
                ``--embd-normalize``.
            truncate: Whether to cut texts that are too long, rather than raise.
            return_count: Whether to return the number of tokens too.

        Returns:
            A list of floats per text, of lists per token where the model does not pool; for a
            single text that alone. With ``return_count`` a tuple of it and the number of those
            that were not cut off.

        Raises:
            ContextError: The model was created without ``embedding=True``.
            InvalidArgumentError: There is no text, or one is too long.
        """
        self._check_context()
        context = self._ctx.handle
        if not context.params.embeddings:
            raise ContextError("create the model with embedding=True to embed with it")
        texts = [input] if isinstance(input, str) else input
        if not isinstance(texts, list | tuple):
            raise InvalidArgumentError(f"input={input!r} must be a text or a list of texts")
        vocab = self._model.vocab_handle
        prompts = [vocab.tokenize(text, parse_special=True) for text in texts]
        if not prompts or not all(prompts):
            raise InvalidArgumentError("there is nothing to embed: give at least one text")
        rows = [
            embeddings.normalized(row, normalize).tolist()
            for row in embeddings.embed(self._engine, context, prompts, truncate=truncate)
        ]
        result = rows[0] if isinstance(input, str) else rows
        if not return_count:
            return result
        limit = embeddings.longest(self._engine, context)
        return result, sum(min(len(prompt), limit) for prompt in prompts)
