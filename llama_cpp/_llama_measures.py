"""What ``Llama`` measures: how likely texts are, and where its memory goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ._llama_chat import LlamaChat
from .engine.slots import shared_prefix
from .errors import InvalidArgumentError
from .generation import measures
from .generation.measures import Measured, Measurement, Perplexity, Score
from .generation.prompts import Prompts
from .handles.footprint import MemoryUse, memory_use
from .validation.native_arguments import token_array
from .validation.numbers import integer

Part: TypeAlias = str | Sequence[int]

PERPLEXITY_CHUNK = 512
"""Tokens of a chunk where nothing else is asked for, as in llama.cpp's tool."""


class LlamaMeasures(LlamaChat):
    """The part of ``Llama`` that measures."""

    _prompts: Prompts

    def score(
        self,
        prompt: Part | Sequence[tuple[Part, Part]],
        continuations: Part | Sequence[Part] | None = None,
    ) -> list[Score]:
        """Tell how likely continuations of a prompt are.

        They are decoded together as far as there are sequences for them (``n_parallel``), and the
        prompt is computed once.

        A prompt and a continuation that are both texts are tokenized as one text, with the spaces
        at the end of the prompt moved to the continuation, as lm-evaluation-harness does. What the
        prompt alone has in common with that is given, and the rest is measured: if a token spans
        the seam, it is measured as a whole. Token ids are taken as they are, and a text beside them
        is tokenized on its own, a prompt with BOS where the model wants it.

        Args:
            prompt: A text or token ids; empty stands for the token that begins a text. Or, without
                ``continuations``, pairs of a prompt and a continuation.
            continuations: A text or token ids, or a list of either.

        Returns:
            One score for each continuation, in their order.

        Raises:
            ContextWindowError: A prompt does not fit into the context with its continuation.
            InvalidArgumentError: A continuation is empty, an argument is of another type, or the
                model does not continue texts.
            TokenError: A token id is not in the vocabulary.
        """
        return self._scoring(prompt, continuations).result()

    def perplexity(
        self, text: Part, *, n_ctx: int | None = None, stride: int | None = None
    ) -> Perplexity:
        """Tell how badly the model predicts a text, as ``llama-perplexity`` does.

        The text is cut into chunks of ``n_ctx`` tokens, each begins with BOS if the model wants
        one, and the second half of each is measured. Chunks are decoded together as far as there
        are sequences for them (``n_parallel``).

        Args:
            text: A text, or token ids; what is left after the last whole chunk is not measured.
            n_ctx: Tokens of a chunk; None takes 512, or as many as a sequence may have.
            stride: Let each chunk begin so many tokens after the one before, and measure its last
                ``stride`` tokens.

        Raises:
            InvalidArgumentError: The text is shorter than a chunk, an argument is out of range or
                of another type, or the model does not continue texts.
            TokenError: A token id is not in the vocabulary.
        """
        return self._perplexing(text, n_ctx=n_ctx, stride=stride).result()

    def memory(self) -> MemoryUse:
        """Tell where the memory goes: weights, cache and buffers, in bytes, by device.

        Raises:
            InvalidArgumentError: Only a vocabulary was loaded.
            ClosedError: The model is closed.
        """
        self._check_context()
        return memory_use(self._ctx.handle)

    def _scoring(self, prompt: Any, continuations: Any = None) -> Measurement[list[Score]]:
        generator = self._generating()
        if continuations is None:
            pairs = _pairs(prompt)
        else:
            pairs = [(prompt, each) for each in _listed(continuations)]
        return measures.scoring(generator, [self._seam(*pair) for pair in pairs])

    def _perplexing(
        self, text: Any, *, n_ctx: int | None = None, stride: int | None = None
    ) -> Measurement[Perplexity]:
        generator = self._generating()
        limit = self.n_ctx()
        size = min(PERPLEXITY_CHUNK, limit) if n_ctx is None else integer("n_ctx", n_ctx, 3, limit)
        if stride is not None:
            stride = integer("stride", stride, 1, size - 1)
        if isinstance(text, str):
            tokens = self.tokenize(text.encode("utf-8", "surrogatepass"))
        else:
            tokens = self._ids(_checked("text", text))
        return measures.perplexity(generator, tokens, size, stride)

    def _seam(self, prompt: Any, continuation: Any) -> Measured:
        """Join a prompt and a continuation, which is measured."""
        if not len(_checked("continuation", continuation)):
            raise InvalidArgumentError("a continuation is empty: give at least one token to score")
        if isinstance(_checked("prompt", prompt), str) and isinstance(continuation, str):
            before = self._beginning(prompt.rstrip())
            whole = self._prompts.tokenize(prompt + continuation)[0]
            start = shared_prefix(before, whole)
            if not start:
                before = self._beginning("")
                whole, start = [*before, *whole], len(before)
        else:
            is_ids = not isinstance(prompt, str) and len(prompt) > 0
            before = self._ids(prompt) if is_ids else self._beginning(prompt)
            if isinstance(continuation, str):
                text = continuation.encode("utf-8", "surrogatepass")
                after = self.tokenizer_.tokenize(text, False, True)
            else:
                after = self._ids(continuation)
            whole, start = [*before, *after], len(before)
        if start == len(whole):
            raise InvalidArgumentError(
                f"the continuation {continuation!r} adds no token to the prompt: there is nothing "
                "to score"
            )
        return Measured(whole, start)

    def _beginning(self, prompt: Any) -> list[int]:
        """The tokens of a text; of none, that which begins texts, or else ends them."""
        vocab = self._model.vocab_handle
        if len(prompt) == 0 and vocab.bos < 0 and vocab.eos >= 0:
            return [vocab.eos]
        return self._prompts.tokenize(prompt if len(prompt) else "")[0]

    def _ids(self, tokens: Any) -> list[int]:
        return token_array(tokens, self._n_vocab).tolist()


def _checked(name: str, part: Any) -> Any:
    is_other = isinstance(part, bytes | bytearray | Mapping) or not hasattr(part, "__getitem__")
    if is_other or not hasattr(part, "__len__"):
        raise InvalidArgumentError(
            f"a {name} is a text or a list of token ids, not {type(part).__name__}"
        )
    return part


def _listed(continuations: Any) -> list[Any]:
    parts = _checked("continuation", continuations)
    if isinstance(parts, str):
        return [parts]
    if not len(parts):
        raise InvalidArgumentError("there are no continuations: give at least one")
    return list(parts) if hasattr(parts[0], "__len__") else [parts]


def _pairs(pairs: Any) -> list[tuple[Any, Any]]:
    is_list = isinstance(pairs, list | tuple) and len(pairs) > 0
    if not is_list or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise InvalidArgumentError(
            "without continuations, score takes a list of pairs of a prompt and a continuation"
        )
    return [(prompt, continuation) for prompt, continuation in pairs]
