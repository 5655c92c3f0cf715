"""``Measures``: how likely a model finds texts that callers give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from ..constraints.spelling import spelled
from ..engine.slots import shared_prefix
from ..errors import InvalidArgumentError
from ..handles.footprint import MemoryUse, memory_use
from ..validation.native_arguments import token_array
from ..validation.numbers import integer
from . import measures
from .choosing import Choice, checked_options, choosing, need_ends
from .generator import Generator
from .measures import Measured, Measurement, Perplexity, Score
from .prompts import Prompts

Part: TypeAlias = str | Sequence[int]

PERPLEXITY_CHUNK = 512
"""Tokens of a chunk where nothing else is asked for, as in llama.cpp's tool."""


class Measures:
    """Measures texts with one model.

    Args:
        generator: The model.
        prompts: Tokenizes texts.
    """

    def __init__(self, generator: Generator, prompts: Prompts) -> None:
        self._generator = generator
        self._vocab = generator.model.vocab
        self._prompts = prompts

    def scoring(self, prompt: Any, continuations: Any = None) -> Measurement[list[Score]]:
        """Make a call of ``Llama.score``, which begins when its result is asked for."""
        self._generator.check()
        if continuations is None:
            pairs = _pairs(prompt)
        else:
            pairs = [(prompt, each) for each in _listed(continuations)]
        return measures.scoring(self._generator, [self._seam(*pair) for pair in pairs])

    def choosing(
        self, prompt: Any, options: Sequence[str], *, is_reply: bool = False
    ) -> Measurement[Choice]:
        """Make a call of ``Llama.choose``, which begins when its result is asked for.

        Args:
            prompt: A text or token ids.
            options: The texts that may follow.
            is_reply: Whether they are replies to a conversation.
        """
        self._generator.check()
        options = checked_options(options)
        # Nothing is put before a reply, where tokenizers put a space before a text.
        spell = partial(spelled, self._vocab) if is_reply else str
        parts = [self._seam(prompt, spell(each)) for each in options]
        if need_ends(options):
            end = self._end(is_reply=is_reply)
            parts = [Measured([*tokens, end], start) for tokens, start in parts]
        return choosing(self._generator, parts, options)

    def _end(self, *, is_reply: bool) -> int:
        vocab = self._vocab
        end = vocab.eot if is_reply and vocab.eot >= 0 else vocab.eos
        if end < 0:
            raise InvalidArgumentError(
                "one option begins another, and this model has no token that ends a text, by which "
                "they could be told apart: give options that differ before they end"
            )
        return end

    def perplexity(
        self, text: Any, *, n_ctx: int | None = None, stride: int | None = None
    ) -> Measurement[Perplexity]:
        """Make a call of ``Llama.perplexity``, which begins when its result is asked for."""
        self._generator.check()
        limit = self._generator.engine.n_ctx
        size = min(PERPLEXITY_CHUNK, limit) if n_ctx is None else integer("n_ctx", n_ctx, 3, limit)
        if stride is not None:
            stride = integer("stride", stride, 1, size - 1)
        if isinstance(text, str):
            tokens = self._prompts.tokenizer.tokenize(
                text.encode("utf-8", "surrogatepass"), True, False
            )
        else:
            tokens = self._ids(_checked("text", text))
        return measures.perplexity(self._generator, tokens, size, stride)

    def memory(self) -> MemoryUse:
        """Tell where the memory goes.

        Raises:
            ClosedError: The model is closed.
        """
        engine = self._generator.engine
        engine.check_open()
        return memory_use(engine.context)

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
                after = self._prompts.tokenizer.tokenize(text, False, True)
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
        vocab = self._vocab
        if len(prompt) == 0 and vocab.bos < 0 and vocab.eos >= 0:
            return [vocab.eos]
        return self._prompts.tokenize(prompt if len(prompt) else "")[0]

    def _ids(self, tokens: Any) -> list[int]:
        return token_array(tokens, self._vocab.n_tokens).tolist()


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
