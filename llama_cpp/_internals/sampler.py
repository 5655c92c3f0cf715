"""``LlamaSampler`` and ``CustomSampler``."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .. import llama_cpp as raw
from ..constraints.gbnf import LlamaGrammar
from ..handles import Candidates, Context, Sampler, SamplerChain, samplers
from ..handles.python_sampler import PythonSampler
from .model import LlamaModel
from .softmax import sort_and_normalize


class HasContext(Protocol):
    """A ``LlamaContext``, or whatever else has one."""

    handle: Context


class CustomSampler:
    """A sampler in Python for chains that a script builds with the raw functions.

    ``LlamaSampler.add_custom`` needs none of this.

    Args:
        apply_func: Is called with a pointer to the ``llama_token_data_array``, to change it.
    """

    def __init__(self, apply_func: Callable[[Any], Any]) -> None:
        self.apply_func = apply_func
        self._callbacks = PythonSampler(_on_struct(apply_func))

    def get_sampler(self) -> raw.llama_sampler_p:
        """Make a native sampler, which belongs to the chain that it is added to.

        This object must live as long as that chain: it has the callbacks.
        """
        return self._callbacks.create()

    def raise_error(self) -> None:
        """Raise what ``apply_func`` has raised since the last time: nothing can cross C."""
        self._callbacks.raise_error()


class LlamaSampler:
    """Samplers that are applied one after another; the last one must choose a token.

    Random ones take a seed of 32 bits; ``LLAMA_DEFAULT_SEED`` stands for a random one. Every
    method but ``close`` raises ``ClosedError`` once the sampler, or a model it needs, is closed.
    The ``add_*`` methods raise ``InvalidArgumentError`` for a number that is out of range.
    """

    def __init__(self) -> None:
        self.handle = SamplerChain()

    @property
    def sampler(self) -> raw.llama_sampler_p | None:
        """The address of the native chain; None after ``close()``."""
        return None if self.handle.closed else self.handle.pointer

    def close(self) -> None:
        """Free the chain. Closing twice does nothing."""
        self.handle.close()

    def sample(self, ctx: HasContext, idx: int = -1) -> int:
        """Choose a token from a row of logits, and accept it.

        Args:
            ctx: Its last decode gave the logits.
            idx: Of the token in the batch that they were asked for; -1 is the last one.

        Raises:
            InvalidArgumentError: There are no logits, or no sampler chooses.
            GrammarError: The grammar allows no token that is left.
        """
        return self.handle.sample(ctx.handle, idx)

    def accept(self, token: int) -> None:
        """Tell the samplers which token was chosen. ``sample`` does so itself.

        Raises:
            GrammarError: A grammar does not allow it; nothing changed.
            TokenError: It is no token id.
        """
        self.handle.accept(token)

    def reset(self) -> None:
        """Forget the accepted tokens; random samplers start over from their seed."""
        self.handle.reset()

    def clone(self) -> LlamaSampler:
        """A copy with the same samplers and states."""
        copy = LlamaSampler.__new__(LlamaSampler)
        copy.handle = self.handle.clone()
        return copy

    def get_seed(self) -> int:
        """The seed in use, or ``LLAMA_DEFAULT_SEED`` where there is none."""
        return self.handle.seed

    # Choosing.

    def add_greedy(self) -> None:
        """Choose the candidate with the highest logit."""
        self.handle.add(samplers.greedy())

    def add_dist(self, seed: int) -> None:
        """Choose a candidate at random, by its probability."""
        self.handle.add(samplers.dist(seed_of(seed)))

    def add_mirostat(self, n_vocab: int, seed: int, tau: float, eta: float, m: int) -> None:
        """Choose so that the surprise stays near tau (https://arxiv.org/abs/2007.14966)."""
        self.handle.add(samplers.mirostat(n_vocab, seed_of(seed), tau, eta, m))

    def add_mirostat_v2(self, seed: int, tau: float, eta: float) -> None:
        """Mirostat 2.0: like ``add_mirostat``, by truncation."""
        self.handle.add(samplers.mirostat_v2(seed_of(seed), tau, eta))

    # Narrowing down.

    def add_softmax(self) -> None:
        """Sort the candidates and compute their probabilities. The others do so when they need it.

        The engine has no such sampler any more; this one is in Python and slows the chain down.
        """
        self.handle.add(samplers.python(sort_and_normalize, name="softmax"))

    def add_top_k(self, k: int) -> None:
        """Keep the k most likely; k <= 0 keeps all."""
        self.handle.add(samplers.top_k(k))

    def add_top_p(self, p: float, min_keep: int = 1) -> None:
        """Keep the most likely that sum up to p."""
        self.handle.add(samplers.top_p(p, min_keep))

    def add_min_p(self, p: float, min_keep: int = 1) -> None:
        """Keep those at least p times as likely as the best."""
        self.handle.add(samplers.min_p(p, min_keep))

    def add_typical(self, p: float, min_keep: int = 1) -> None:
        """Keep those of about average information."""
        self.handle.add(samplers.typical(p, min_keep))

    def add_temp(self, temp: float) -> None:
        """Divide the logits by ``temp``; temp <= 0 leaves only the best one."""
        self.handle.add(samplers.temp(temp))

    def add_temp_ext(self, t: float, delta: float, exponent: float) -> None:
        """A temperature in [t - delta, t + delta] by the entropy."""
        self.handle.add(samplers.temp_ext(t, delta, exponent))

    def add_xtc(self, p: float, t: float, min_keep: int, seed: int) -> None:
        """With probability p, drop all but the least likely of those above t."""
        self.handle.add(samplers.xtc(p, t, min_keep, seed_of(seed)))

    def add_top_n_sigma(self, n: float) -> None:
        """Keep logits within n standard deviations of the best."""
        self.handle.add(samplers.top_n_sigma(n))

    def add_infill(self, model: LlamaModel) -> None:
        """For fill-in-the-middle: join equal prefixes, end when in doubt."""
        self.handle.add(samplers.infill(model.vocab_handle))

    # Shifting logits.

    def add_penalties(
        self,
        n_vocab: int,
        penalty_last_n: int,
        penalty_repeat: float,
        penalty_freq: float,
        penalty_present: float,
    ) -> None:
        """Lower the logits of the last tokens.

        Args:
            n_vocab: Tokens in the vocabulary.
            penalty_last_n: How many tokens to look back on; 0 is off.
            penalty_repeat: Divides their logits; 1 is off.
            penalty_freq: Is subtracted once per occurrence; 0 is off.
            penalty_present: Is subtracted once; 0 is off.
        """
        self.handle.add(
            samplers.penalties(
                n_vocab, penalty_last_n, penalty_repeat, penalty_freq, penalty_present
            )
        )

    def add_dry(
        self,
        model: LlamaModel,
        dry_multiplier: float,
        dry_base: float,
        dry_allowed_length: int,
        dry_penalty_last_n: int,
        seq_breakers: Sequence[str | bytes],
    ) -> None:
        """Penalize repeated sequences.

        Args:
            model: The model.
            dry_multiplier: Strength; 0 is off.
            dry_base: Growth of the penalty per repeated token.
            dry_allowed_length: Repeats up to this many tokens are free.
            dry_penalty_last_n: How many tokens to look back on; 0 is off, -1 stands for the
                context length that the model was trained with.
            seq_breakers: Texts that end a sequence.
        """
        last_n = model.n_ctx_train() if dry_penalty_last_n == -1 else dry_penalty_last_n
        self.handle.add(
            samplers.dry(
                model.vocab_handle,
                dry_multiplier, dry_base, dry_allowed_length, last_n, seq_breakers,
            )
        )  # fmt: skip

    def add_logit_bias(self, n_vocab: int, logit_bias: Mapping[int, float]) -> None:
        """Add a bias to the logits of some tokens; ``-inf`` forbids one.

        Raises:
            TokenError: An id is not in the vocabulary.
        """
        self.handle.add(samplers.logit_bias(n_vocab, logit_bias))

    def add_grammar(self, model: LlamaModel, grammar: LlamaGrammar) -> None:
        """Allow only what a grammar derives.

        Raises:
            GrammarError: It does not parse; the native log tells where.
        """
        self.handle.add(grammar_sampler(model, grammar))

    def add_grammar_lazy_patterns(
        self,
        model: LlamaModel,
        grammar: LlamaGrammar,
        trigger_patterns: Sequence[str | bytes],
        trigger_tokens: Sequence[int],
    ) -> None:
        """A grammar that begins to apply when a pattern matches the output or a token is chosen.

        Args:
            model: The model.
            grammar: The grammar.
            trigger_patterns: Regular expressions (ECMAScript) over the whole output.
            trigger_tokens: The grammar is fed from this token on.

        Raises:
            GrammarError: The grammar or a pattern does not parse.
            TokenError: A trigger is not in the vocabulary.
        """
        self.handle.add(
            samplers.grammar_lazy(
                model.vocab_handle,
                grammar._grammar, grammar._root, trigger_patterns, trigger_tokens,
            )
        )  # fmt: skip

    def add_custom(self, apply_func: Callable[[Any], Any]) -> None:
        """Call a Python function.

        Args:
            apply_func: Is called with a pointer to the ``llama_token_data_array``, to change it;
                what it raises reaches the caller of ``sample``.
        """
        self.handle.add(samplers.python(_on_struct(apply_func), name="custom"))


def grammar_sampler(model: LlamaModel, grammar: LlamaGrammar) -> Sampler:
    """A sampler that stands at the beginning of the grammar."""
    return samplers.grammar(model.vocab_handle, grammar._grammar, grammar._root)


def seed_of(seed: int) -> int:
    """The seed that C makes of an int: -1 stands for a random one like ``LLAMA_DEFAULT_SEED``."""
    return int(seed) & 0xFFFFFFFF


def _on_struct(apply_func: Callable[[Any], Any]) -> Callable[[Candidates], Any]:
    return lambda candidates: apply_func(ctypes.pointer(candidates.struct))
