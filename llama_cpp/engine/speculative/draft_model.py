"""From what callers give as a draft model to a drafter; small models that guess for large ones."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ... import llama_cpp as raw
from ...errors import InvalidArgumentError
from ...handles import Batch, Context, Model, SamplerChain, Vocab, samplers
from ...handles.token_sampler import TokenSampler, TopLogprobs
from ..draft_length import LENGTH_MAX
from ..slots import shared_prefix
from .drafter import LEAST_LOGPROB, Drafter, ModelDrafter
from .mtp import MtpDrafter
from .prompt_lookup import LlamaDraftModel, LlamaPromptLookupDecoding

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


MTP = "mtp"
"""Stands for the model's own head for multi-token prediction."""


def drafter_of(value: Any, context: Context) -> Drafter | None:
    """Make a drafter of what callers give for a draft model.

    Args:
        value: A ``LlamaDraftModel``, the path of a GGUF file, a ``Llama``, "mtp" or "ngram"; None
            for no drafts.
        context: For which it is to guess.

    Raises:
        InvalidArgumentError: It is something else, has another vocabulary, or the model has no
            head for multi-token prediction.
        ModelLoadError: The file cannot be loaded.
    """
    model = context.model
    if value is None:
        return None
    if value == MTP:
        return MtpDrafter(context, model.vocab.eog_tokens)
    return ModelDrafter(_draft_model_of(value, model, context.params), model.n_vocab)


def _draft_model_of(value: Any, model: Model, params: raw.llama_context_params) -> Any:
    if value == "ngram":
        return LlamaPromptLookupDecoding(
            max_ngram_size=3, num_pred_tokens=LENGTH_MAX, min_ngram_size=2
        )
    if isinstance(value, str | os.PathLike):
        return ModelDraft(Model(value), model.vocab, params)
    small = getattr(getattr(value, "_model", None), "handle", None)
    if isinstance(small, Model):
        return ModelDraft(small, model.vocab, params)
    if callable(value):
        return value
    raise InvalidArgumentError(
        f"draft_model={value!r} must be a LlamaDraftModel, the path of a GGUF file, a Llama, "
        '"mtp" or "ngram"'
    )


class ModelDraft(LlamaDraftModel):
    """Guesses what a small model would write.

    Args:
        model: The small model; its weights may be those of a ``Llama`` that is used meanwhile.
        vocab: Of the large one.
        params: Those of the large one's context.

    Raises:
        InvalidArgumentError: The vocabularies differ.
    """

    def __init__(self, model: Model, vocab: Vocab, params: raw.llama_context_params) -> None:
        check_vocabularies(model.vocab, vocab)
        own = Context.default_params()
        own.n_ctx = params.n_ctx // max(1, params.n_seq_max)
        own.n_batch = own.n_ubatch = params.n_ubatch
        own.n_threads, own.n_threads_batch = params.n_threads, params.n_threads_batch
        self._context = Context(model, own)
        chain = SamplerChain()
        chain.add(samplers.greedy())
        self._sampler = TokenSampler(chain, model.n_vocab, n_best=1)
        self._measure = TopLogprobs(model.n_vocab, 0)
        self._ends = model.vocab.eog_tokens
        self._batch = Batch(own.n_batch)
        self._cached: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, input_ids: npt.NDArray[np.intc], /, **kwargs: Any) -> npt.NDArray[np.intc]:
        """Return the tokens that the small model is sure of."""
        import numpy as np

        return np.array(self.continuation(input_ids.tolist(), 16), np.intc)

    def continuation(self, tokens: Sequence[int], n_max: int) -> list[int]:
        """Guess from a list.

        Args:
            tokens: The prompt and what was generated.
            n_max: How many tokens are wanted.
        """
        with self._lock:
            room = self._context.n_ctx_seq - len(tokens)
            guesses: list[int] = []
            if room < 1:
                return guesses
            self._read(tokens)
            while len(guesses) < min(n_max, room):
                last = self._batch.n_tokens - 1
                token = self._sampler.sample(self._context, last)
                logprob, _ = self._measure.of(self._context, last, token)
                if logprob < LEAST_LOGPROB or token in self._ends:
                    break
                guesses.append(token)
                if len(guesses) < min(n_max, room):
                    self._decode([token])
            return guesses

    def _read(self, tokens: Sequence[int]) -> None:
        """Have the small model know a text, all but what it knows already."""
        known = min(shared_prefix(self._cached, tokens), len(tokens) - 1)
        if not self._context.memory.seq_rm(0, known, -1):
            self._context.memory.clear()  # a memory that cannot go back
            known = 0
        self._cached = self._cached[:known]
        step = self._batch.capacity
        for start in range(known, len(tokens), step):
            self._decode(tokens[start : start + step])

    def _decode(self, tokens: Sequence[int]) -> None:
        start = len(self._cached)
        count = len(tokens)
        outputs = [False] * (count - 1) + [True]
        self._batch.fill(tokens, range(start, start + count), [0] * count, outputs)
        self._context.decode(self._batch)
        self._cached += tokens


def check_vocabularies(small: Vocab, large: Vocab) -> None:
    """Check that a token means the same in two models.

    Raises:
        InvalidArgumentError: They differ.
    """
    same_size = small.n_tokens == large.n_tokens
    if same_size and (small.bos, small.eos) == (large.bos, large.eos):
        text = raw.llama_vocab_get_text
        differing = small.call(
            lambda a: large.call(
                lambda b: next((t for t in range(large.n_tokens) if text(a, t) != text(b, t)), None)
            )
        )
        if differing is None:
            return
        texts = f"{small.text(differing)!r} there and {large.text(differing)!r} here"
        what = f"token {differing} is {texts}"
    elif not same_size:
        what = f"it has {small.n_tokens} tokens, this one {large.n_tokens}"
    else:
        what = "its first or last token is another one"
    raise InvalidArgumentError(
        f"the draft model has another vocabulary than the model: {what}. Take a smaller model of "
        "the same family"
    )
