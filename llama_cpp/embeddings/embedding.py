"""``Embeddings``: embeddings, reranking and classification with one model."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from .. import llama_cpp as raw
from ..engine import Engine
from ..errors import InvalidArgumentError
from ..llama_types import CreateEmbeddingResponse, RerankResponse
from ..validation.native_arguments import INT32_MAX, integer, token_array
from ..validation.numbers import plain
from .batches import Embedder, normalized
from .rerank import PairPrompts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_LOGGER = logging.getLogger("llama_cpp")

TextOrTokens: TypeAlias = str | list[int]


class Embeddings:
    """Embeds with a context of its own, which is made when it is first needed.

    Args:
        engine: That of the model, which may be generating meanwhile.
        metadata: The model's.
        model_name: What results say the model is where a call says nothing.
        poll: How eagerly worker threads look for work.
    """

    def __init__(
        self, engine: Engine, metadata: Mapping[str, str], model_name: str, poll: int
    ) -> None:
        self._engine = engine
        self._model = engine.context.model
        self._metadata = metadata
        self._model_name = model_name
        self._poll = poll
        self._lock = threading.Lock()
        self._embedder: Embedder | None = None

    @property
    def embedder(self) -> Embedder:
        """The context for embeddings.

        Raises:
            ClosedError: The model is closed.
            OutOfMemoryError: There is no memory for it.
        """
        self._engine.check_open()
        with self._lock:
            if self._embedder is None:
                self._embedder = Embedder(
                    self._model,
                    self._engine.context.params,
                    self._engine.adapters.default,
                    self._poll,
                )
            return self._embedder

    def close(self) -> None:
        """Free the context."""
        if self._embedder is not None:
            self._embedder.close()

    def create(
        self,
        input: str | Sequence[Any],  # noqa: A002 - OpenAI's name
        model: str | None = None,
        *,
        dimensions: int | None = None,
        encoding_format: Literal["float", "base64"] = "float",
        normalize: bool | int = False,
        truncate: bool | int = False,
    ) -> CreateEmbeddingResponse:
        """Embed texts; see ``Llama.create_embedding``."""
        if encoding_format not in ("float", "base64"):
            raise InvalidArgumentError(
                f'encoding_format={encoding_format!r} must be "float" or "base64"'
            )
        prompts, _ = self._embedding_prompts(input)
        rows, count = self._embed(prompts, truncate=truncate)
        if dimensions is not None:
            width = rows[0].shape[-1]
            dimensions = integer("dimensions", dimensions, 1, width)
            rows = [row[..., :dimensions] for row in rows]
        data = [
            {"object": "embedding", "embedding": _encoded(row, encoding_format), "index": index}
            for index, row in enumerate(normalized(row, normalize) for row in rows)
        ]
        answer = {
            "object": "list",
            "data": data,
            "model": model if model is not None else self._model_name,
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }
        return cast("CreateEmbeddingResponse", answer)

    def embed(
        self,
        input: str | Sequence[Any],  # noqa: A002 - OpenAI's name
        normalize: bool | int = False,
        truncate: bool = True,
        return_count: bool = False,
    ) -> Any:
        """Embed a text or a list of texts; see ``Llama.embed``."""
        prompts, is_single = self._embedding_prompts(input)
        rows, count = self._embed(prompts, truncate=truncate)
        lists = [normalized(row, normalize).tolist() for row in rows]
        result = lists[0] if is_single else lists
        return (result, count) if return_count else result

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        top_n: int | None = None,
        *,
        return_documents: bool = False,
        truncate: bool = True,
    ) -> RerankResponse:
        """Order documents by how well they answer a query; see ``Llama.rerank``."""
        embedder = self._ranker()
        if not isinstance(query, str):
            raise InvalidArgumentError(f"query={query!r} must be a text")
        if isinstance(documents, str) or not isinstance(documents, Sequence) or not documents:
            raise InvalidArgumentError("documents must be a list of at least one text")
        for index, document in enumerate(documents):
            if not isinstance(document, str):
                raise InvalidArgumentError(f"documents[{index}] must be a text, not {document!r}")
        if top_n is not None:
            top_n = integer("top_n", top_n, 1, INT32_MAX)
        pairs = PairPrompts(self._model.vocab, self._metadata)
        most = self._model.vocab.longest_text(embedder.limit + 1)
        prompts = [pairs.tokenize(query[:most], document[:most]) for document in documents]
        rows, count = self._embed(prompts, truncate=truncate, embedder=embedder)
        scores = [float(row[0]) for row in rows]
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[:top_n]
        results = [
            {"index": index, "relevance_score": scores[index]}
            | ({"document": {"text": documents[index]}} if return_documents else {})
            for index in order
        ]
        usage = {"prompt_tokens": count, "total_tokens": count}
        return cast(
            "RerankResponse",
            {"object": "list", "model": self._model_name, "results": results, "usage": usage},
        )

    def classify(
        self,
        input: str | Sequence[Any],  # noqa: A002 - as in embed
        truncate: bool = True,
    ) -> Any:
        """Score the labels of a classifier; see ``Llama.classify``."""
        embedder = self._ranker()
        prompts, is_single = self._embedding_prompts(input)
        rows, _ = self._embed(prompts, truncate=truncate, embedder=embedder)
        labels = self._model.labels
        scored = [
            dict(sorted(zip(labels, row.tolist(), strict=True), key=lambda pair: -pair[1]))
            for row in rows
        ]
        return scored[0] if is_single else scored

    def _ranker(self) -> Embedder:
        self._model.check_has_scores()
        embedder = self.embedder
        if embedder.pooling_type != raw.LLAMA_POOLING_TYPE_RANK:
            raise InvalidArgumentError(
                "this model gives scores with rank pooling, which its file does not ask for: load "
                "it with pooling_type=llama_cpp.LLAMA_POOLING_TYPE_RANK"
            )
        return embedder

    def _embed(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        truncate: bool | int,
        embedder: Embedder | None = None,
    ) -> tuple[list[npt.NDArray[np.float32]], int]:
        embedder = embedder or self.embedder
        longest = max(map(len, prompts))
        truncate = plain(truncate)
        if not isinstance(truncate, bool):
            most = integer("truncate", truncate, 1, INT32_MAX)
            prompts = [self._cut(prompt, most) for prompt in prompts]
            longest = min(longest, most)
        elif truncate and longest > embedder.limit:
            _LOGGER.warning(
                "a text of %d tokens was cut to the %d that can be embedded: truncate=False says "
                "what to do", longest, embedder.limit,
            )  # fmt: skip
            prompts = [self._cut(prompt, embedder.limit) for prompt in prompts]
            longest = embedder.limit
        if longest > embedder.limit:
            raise embedder.too_long(longest)
        return embedder.embed(prompts), sum(map(len, prompts))

    def _cut(self, prompt: Sequence[int], most: int) -> Sequence[int]:
        """Shorten a text, with the token at its end that the model was trained to see there."""
        vocab = self._model.vocab
        if len(prompt) > most > 1 and prompt[-1] in (vocab.eos, vocab.sep):
            return [*prompt[: most - 1], prompt[-1]]
        return prompt[:most]

    def _embedding_prompts(self, texts: Any) -> tuple[list[list[int]], bool]:
        """The tokens of each text, and whether it was one alone."""
        self._engine.check_open()
        if isinstance(texts, bytes | Mapping) or not hasattr(texts, "__getitem__"):
            raise InvalidArgumentError(f"input={texts!r} must be a text or a list of texts")
        is_single = isinstance(texts, str) or (
            len(texts) > 0 and isinstance(plain(texts[0]), int | float)
        )
        vocab = self._model.vocab
        # What comes after that is cut off anyhow, or refused.
        most = vocab.longest_text(self.embedder.limit + 1)
        prompts = [
            vocab.tokenize(text[:most], parse_special=True)
            if isinstance(text, str)
            else token_array(text, vocab.n_tokens).tolist()
            for text in (cast("Sequence[Any]", [texts]) if is_single else texts)
        ]
        if not prompts or not all(prompts):
            raise InvalidArgumentError("there is nothing to embed: give at least one text")
        return prompts, is_single


def _encoded(row: npt.NDArray[np.float32], encoding_format: str) -> Any:
    if encoding_format == "float":
        return row.tolist()
    if row.ndim == 2:  # without pooling: a vector for each token
        return [_encoded(each, encoding_format) for each in row]
    return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
