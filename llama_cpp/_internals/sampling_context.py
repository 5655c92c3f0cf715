"""``LlamaSamplingParams`` and ``LlamaSamplingContext``: all of sampling in one object."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .. import llama_cpp as raw
from ..constraints.gbnf import LlamaGrammar
from ..errors import GrammarError, InvalidArgumentError
from ..handles import Sampler
from ..validation.native_arguments import token_id
from .batch import LlamaTokenDataArray
from .context import LlamaContext
from .sampler import grammar_sampler

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass
class LlamaSamplingParams:
    """How to sample.

    ``tfs_z``, ``penalize_nl``, ``cfg_negative_prompt`` and ``cfg_scale`` are kept for scripts and
    change nothing: llama.cpp has given them up.

    Args:
        n_prev: Tokens to remember.
        n_probs: Of how many tokens ``LlamaSamplingContext.cur`` tells the probability; no sampler
            leaves fewer candidates.
        top_k: Keep the k most likely; <= 0 is off.
        top_p: Keep the most likely that sum up to this; 1 is off.
        min_p: Keep those at least this times as likely as the best; 0 is off.
        tfs_z: Changes nothing.
        typical_p: Keep those of about average information; 1 is off.
        temp: Divides the logits; <= 0 takes the most likely token.
        penalty_last_n: Tokens to penalize; 0 is off, -1 all that are remembered.
        penalty_repeat: Divides their logits; 1 is off.
        penalty_freq: Is subtracted once per occurrence; 0 is off.
        penalty_present: Is subtracted once; 0 is off.
        mirostat: 1 or 2 for this version of Mirostat, in place of top_k to min_p; 0 is off.
        mirostat_tau: The surprise to aim at, in bits.
        mirostat_eta: How fast it is corrected.
        penalize_nl: Changes nothing.
        grammar: GBNF rules; empty is off.
        cfg_negative_prompt: Changes nothing.
        cfg_scale: Changes nothing.
        logit_bias: What to add to the logits of tokens.
    """

    n_prev: int = 64
    n_probs: int = 0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    tfs_z: float = 1.0
    typical_p: float = 1.0
    temp: float = 0.80
    penalty_last_n: int = 64
    penalty_repeat: float = 1.0
    penalty_freq: float = 0.0
    penalty_present: float = 0.0
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    penalize_nl: bool = True
    grammar: str = ""
    cfg_negative_prompt: str = ""
    cfg_scale: float = 1.0
    logit_bias: dict[int, float] = field(default_factory=dict)


@dataclass
class LlamaSamplingContext:
    """Chooses tokens, and remembers them for penalties and the grammar.

    The random numbers are those of the ``LlamaContext``: see its ``set_rng_seed``.

    Args:
        params: How to sample.
        mirostat_mu: The largest surprise that Mirostat allows now; 0 to begin with 2 * tau.
        grammar: The grammar to follow; that of ``params`` by default.
        prev: The tokens chosen so far.
        cur: The ``params.n_probs`` most likely candidates of the last choice.
    """

    params: LlamaSamplingParams = field(default_factory=LlamaSamplingParams)
    mirostat_mu: ctypes.c_float = field(default_factory=ctypes.c_float)
    grammar: LlamaGrammar | None = None
    prev: list[int] = field(default_factory=list)
    cur: list[raw.llama_token_data] = field(default_factory=list)
    _grammar_state: Sampler | None = field(default=None, init=False, repr=False, compare=False)
    _candidates: LlamaTokenDataArray | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.params.mirostat not in (0, 1, 2):
            raise InvalidArgumentError(f"mirostat={self.params.mirostat} must be 0, 1 or 2")
        if self.mirostat_mu.value == 0:
            self._start_mirostat()
        if self.grammar is None and self.params.grammar:
            self.grammar = LlamaGrammar.from_string(self.params.grammar)

    def reset(self) -> None:
        """Begin a new text."""
        self.prev = []
        self.cur = []
        self._start_mirostat()
        if self._grammar_state is not None:
            self._grammar_state.reset()

    def cp(self) -> LlamaSamplingContext:
        """A copy that goes on independently."""
        copy = replace(
            self,
            mirostat_mu=ctypes.c_float(self.mirostat_mu.value),
            prev=list(self.prev),
            cur=list(self.cur),
        )
        if self._grammar_state is not None:
            copy._grammar_state = self._grammar_state.clone()
        return copy

    def last(self) -> int | None:
        """The token chosen last, None at the beginning."""
        return self.prev[-1] if self.prev else None

    def prev_str(self, ctx_main: LlamaContext, n: int) -> str:
        """The text of the last n tokens."""
        tokens = self.prev[-n:] if n > 0 else []
        return ctx_main.model.detokenize(tokens).decode("utf-8", "replace")

    def sample(
        self,
        ctx_main: LlamaContext,
        idx: int = 0,
        logits_array: npt.ArrayLike | None = None,
    ) -> int:
        """Choose a token; ``accept`` must follow for it to count.

        Args:
            ctx_main: The context.
            idx: Of the token in its last batch whose logits to take.
            logits_array: Logits to take instead, shape (n_vocab,).

        Raises:
            InvalidArgumentError: There are no logits for ``idx``, or they have another shape, or
                a parameter is out of range.
            GrammarError: The grammar does not parse, or allows no token.
        """
        params = self.params
        candidates = self._fresh_candidates(ctx_main, idx, logits_array)
        ctx_main.sample_repetition_penalties(
            candidates,
            self.prev,
            params.penalty_last_n,
            params.penalty_repeat,
            params.penalty_freq,
            params.penalty_present,
        )
        if self.grammar is not None:
            self._state_of_grammar(ctx_main).apply(candidates.handle)
        token = self._choose(ctx_main, candidates)
        chosen = candidates.handle
        if self.grammar is not None and chosen.data["logit"][chosen.selected] == -math.inf:
            raise GrammarError("the grammar allows no token that is left")
        self.cur = self._most_likely(ctx_main, candidates)
        return token

    def accept(self, ctx_main: LlamaContext, id: int, apply_grammar: bool) -> None:  # noqa: A002
        """Remember a token.

        Args:
            ctx_main: The context.
            id: The token.
            apply_grammar: Whether the grammar goes on by this token: not for those of a prompt.

        Raises:
            GrammarError: The grammar does not allow it.
            TokenError: It is not in the vocabulary.
        """
        if apply_grammar and self.grammar is not None:
            self._state_of_grammar(ctx_main).accept(id)
        self.prev.append(id)
        if self.params.penalty_last_n >= 0:
            del self.prev[: -max(self.params.n_prev, self.params.penalty_last_n, 1)]

    def _fresh_candidates(
        self, ctx_main: LlamaContext, idx: int, logits_array: npt.ArrayLike | None
    ) -> LlamaTokenDataArray:
        n_vocab = ctx_main.model.n_vocab()
        if self._candidates is None or self._candidates.n_vocab != n_vocab:
            self._candidates = LlamaTokenDataArray(n_vocab=n_vocab)
        candidates = self._candidates
        candidates.copy_logits(
            ctx_main.handle.logits(idx) if logits_array is None else logits_array
        )
        for token, bias in self.params.logit_bias.items():
            token_id(token, n_vocab)
            candidates.candidates_data["logit"][token] += bias
        return candidates

    def _choose(self, ctx: LlamaContext, candidates: LlamaTokenDataArray) -> int:
        params = self.params
        if params.temp <= 0:
            return ctx.sample_token_greedy(candidates)
        if params.mirostat:
            ctx.sample_temp(candidates, params.temp)
            tau, eta, mu = params.mirostat_tau, params.mirostat_eta, self.mirostat_mu
            if params.mirostat == 1:
                return ctx.sample_token_mirostat(candidates, tau, eta, 100, mu)
            return ctx.sample_token_mirostat_v2(candidates, tau, eta, mu)
        min_keep = max(1, params.n_probs)
        ctx.sample_top_k(candidates, params.top_k, min_keep)
        ctx.sample_typical(candidates, params.typical_p, min_keep)
        ctx.sample_top_p(candidates, params.top_p, min_keep)
        ctx.sample_min_p(candidates, params.min_p, min_keep)
        ctx.sample_temp(candidates, params.temp)
        return ctx.sample_token(candidates)

    def _most_likely(
        self, ctx: LlamaContext, candidates: LlamaTokenDataArray
    ) -> list[raw.llama_token_data]:
        if self.params.n_probs <= 0:
            return []
        ctx.sample_softmax(candidates)
        entries = candidates.handle.data[: self.params.n_probs].tolist()
        return [raw.llama_token_data(*entry) for entry in entries]

    def _state_of_grammar(self, ctx_main: LlamaContext) -> Sampler:
        assert self.grammar is not None
        if self._grammar_state is None or self._grammar_state.closed:
            self._grammar_state = grammar_sampler(ctx_main.model, self.grammar)
        return self._grammar_state

    def _start_mirostat(self) -> None:
        self.mirostat_mu.value = 2 * self.params.mirostat_tau
