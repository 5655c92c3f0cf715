"""The ``sample_*`` methods of ``LlamaContext``: one sampler at a time, over explicit candidates."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .. import llama_cpp as raw
from ..constraints.gbnf import LlamaGrammar
from ..errors import InvalidArgumentError
from ..handles import Context, Sampler, samplers
from .batch import LlamaTokenDataArray
from .model import LlamaModel
from .sampler import LlamaSampler, grammar_sampler, seed_of
from .softmax import sort_and_normalize

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class CandidateSampling:
    """Base of ``LlamaContext``. Each method changes the candidates in place.

    They raise ``ClosedError`` once the context is closed.

    Args:
        model: The model whose tokens the candidates are.
    """

    handle: Context

    def __init__(self, model: LlamaModel) -> None:
        self.model = model
        self._dist: Sampler | None = None
        # A grammar object stands for one text in the making.
        self._grammars: WeakKeyDictionary[LlamaGrammar, Sampler] = WeakKeyDictionary()

    def set_rng_seed(self, seed: int) -> None:
        """Start the random numbers of ``sample_token*`` anew.

        Args:
            seed: 32 bits; ``LLAMA_DEFAULT_SEED`` stands for a random one.
        """
        self._check_open()
        if self._dist is not None:
            self._dist.close()
        self._dist = samplers.dist(seed_of(seed))

    def sample_repetition_penalties(
        self,
        candidates: LlamaTokenDataArray,
        last_tokens_data: Any,
        penalty_last_n: int,
        penalty_repeat: float,
        penalty_freq: float,
        penalty_present: float,
    ) -> None:
        """Lower the logits of tokens that came before.

        Args:
            candidates: The candidates.
            last_tokens_data: The tokens: a sequence, or a C array of ``penalty_last_n``.
            penalty_last_n: How many of them count, from the end; -1 for all of a sequence.
            penalty_repeat: Divides their logits; 1 is off.
            penalty_freq: Is subtracted once per occurrence; 0 is off.
            penalty_present: Is subtracted once; 0 is off.
        """
        tokens = _last_tokens(last_tokens_data, penalty_last_n)
        with samplers.penalties(
            self.model.n_vocab(), len(tokens), penalty_repeat, penalty_freq, penalty_present
        ) as sampler:
            for token in tokens:
                sampler.accept(token)
            self._apply(sampler, candidates)

    def sample_softmax(self, candidates: LlamaTokenDataArray) -> None:
        """Sort the candidates, the likeliest first, and compute their probabilities."""
        self._check_open()
        sort_and_normalize(candidates.handle)

    def sample_top_k(self, candidates: LlamaTokenDataArray, k: int, min_keep: int) -> None:
        """Keep the k most likely; k <= 0 keeps all."""
        self._apply_once(samplers.top_k(max(k, min_keep) if k > 0 else 0), candidates)

    def sample_top_p(self, candidates: LlamaTokenDataArray, p: float, min_keep: int) -> None:
        """Keep the most likely that sum up to p."""
        self._apply_once(samplers.top_p(p, min_keep), candidates)

    def sample_min_p(self, candidates: LlamaTokenDataArray, p: float, min_keep: int) -> None:
        """Keep those at least p times as likely as the best."""
        self._apply_once(samplers.min_p(p, min_keep), candidates)

    def sample_typical(self, candidates: LlamaTokenDataArray, p: float, min_keep: int) -> None:
        """Keep those of about average information."""
        self._apply_once(samplers.typical(p, min_keep), candidates)

    def sample_temp(self, candidates: LlamaTokenDataArray, temp: float) -> None:
        """Divide the logits by ``temp``; temp <= 0 leaves only the best one."""
        self._apply_once(samplers.temp(temp), candidates)

    def sample_grammar(
        self, candidates: LlamaTokenDataArray, grammar: LlamaGrammar | LlamaSampler
    ) -> None:
        """Give every token that the grammar does not allow now a logit of -inf.

        Args:
            candidates: The candidates.
            grammar: What the context has accepted for this very object so far counts, so take a
                new one for a new text. Or a sampler of the caller's own.

        Raises:
            GrammarError: It does not parse.
        """
        self._apply(self._grammar_state(grammar), candidates)

    def grammar_accept_token(self, grammar: LlamaGrammar | LlamaSampler, token: int) -> None:
        """Tell the grammar which token was chosen.

        Raises:
            GrammarError: The grammar does not parse, or does not allow the token.
            TokenError: The id is not in the vocabulary.
        """
        self._grammar_state(grammar).accept(token)

    def sample_token_greedy(self, candidates: LlamaTokenDataArray) -> int:
        """Return the token with the highest logit."""
        self._apply_once(samplers.greedy(), candidates)
        return candidates.handle.selected_token

    def sample_token(self, candidates: LlamaTokenDataArray) -> int:
        """Return a token at random, by its probability."""
        if self._dist is None:
            self.set_rng_seed(raw.LLAMA_DEFAULT_SEED)
        assert self._dist is not None
        self._apply(self._dist, candidates)
        return candidates.handle.selected_token

    def sample_token_mirostat(
        self, candidates: LlamaTokenDataArray, tau: float, eta: float, m: int, mu: Any
    ) -> int:
        """Return a token at random so that the surprise stays near ``tau``.

        Mirostat, https://arxiv.org/abs/2007.14966.

        Args:
            candidates: The candidates.
            tau: The surprise to aim at, in bits.
            eta: How fast ``mu`` follows.
            m: How many of the most likely tokens tell the shape of the distribution.
            mu: ``c_float``, pointer to one or ``byref`` of one: the largest surprise to allow,
                2 * tau in the beginning. It is updated.
        """
        limit = _float_behind(mu)
        self.sample_softmax(candidates)
        k = _mirostat_k(candidates.handle.data["p"], m, limit.value, candidates.n_vocab)
        return self._sample_surprise(candidates, k, tau, eta, limit)

    def sample_token_mirostat_v2(
        self, candidates: LlamaTokenDataArray, tau: float, eta: float, mu: Any
    ) -> int:
        """Return a token at random so that the surprise stays near ``tau``.

        Mirostat 2.0, https://arxiv.org/abs/2007.14966.

        Args:
            candidates: The candidates.
            tau: The surprise to aim at, in bits.
            eta: How fast ``mu`` follows.
            mu: ``c_float``, pointer to one or ``byref`` of one: the largest surprise to allow,
                2 * tau in the beginning. It is updated.
        """
        limit = _float_behind(mu)
        self.sample_softmax(candidates)
        # 2^-1000 is 0 for floats already, and a larger exponent overflows.
        likely = candidates.handle.data["p"] >= 2.0 ** min(-limit.value, 0.0)
        return self._sample_surprise(candidates, int(likely.sum()), tau, eta, limit)

    def _sample_surprise(
        self, candidates: LlamaTokenDataArray, k: int, tau: float, eta: float, mu: ctypes.c_float
    ) -> int:
        left = candidates.handle
        left.truncate(min(max(k, 1), len(left)))
        token = self.sample_token(candidates)
        probability = float(left.data["p"][left.selected])
        if probability > 0:  # not when every candidate was ruled out
            mu.value -= eta * (-math.log2(probability) - tau)
        return token

    def _grammar_state(self, grammar: LlamaGrammar | LlamaSampler) -> Sampler:
        self._check_open()
        if isinstance(grammar, LlamaSampler):
            return grammar.handle
        state = self._grammars.get(grammar)
        if state is None:
            state = self._grammars[grammar] = grammar_sampler(self.model, grammar)
        return state

    def _apply_once(self, sampler: Sampler, candidates: LlamaTokenDataArray) -> None:
        with sampler:
            self._apply(sampler, candidates)

    def _apply(self, sampler: Sampler, candidates: LlamaTokenDataArray) -> None:
        self._check_open()
        sampler.apply(candidates.handle)

    def _close_samplers(self) -> None:
        for sampler in [*self._grammars.values(), *([self._dist] if self._dist else [])]:
            sampler.close()

    def _check_open(self) -> None:
        _ = self.handle.pointer


def _mirostat_k(probabilities: npt.NDArray[np.float32], m: int, mu: float, n_vocab: int) -> int:
    """How many tokens to keep: equations 2 and 3 of the paper, whose names the variables have."""
    import numpy as np

    everything = len(probabilities)
    p = probabilities[: max(m, 2)].astype(np.float64)
    p = p[p > 0]
    if len(p) < 2:
        return 1
    t = np.log(np.arange(2, len(p) + 1) / np.arange(1, len(p)))
    b = np.log(p[:-1] / p[1:])
    s = float((t * b).sum() / (t * t).sum())
    if s <= 0:  # all are equally likely
        return everything
    epsilon = s - 1
    # As epsilon goes to 0, the fraction goes to 1 / ln(n).
    slope = math.log(n_vocab) if epsilon == 0 else -math.expm1(-epsilon * math.log(n_vocab))
    fraction = 1 / slope if epsilon == 0 else epsilon / slope
    log_k = (math.log(fraction) + mu * math.log(2)) / s
    return everything if log_k >= math.log(everything) else int(math.exp(log_k))


def _last_tokens(data: Any, last_n: int) -> Sequence[int]:
    if last_n == 0:
        return []
    if isinstance(data, ctypes._Pointer):
        if last_n < 0:
            raise InvalidArgumentError("penalty_last_n = -1 needs a sequence that knows its length")
        return list(data[:last_n])
    tokens = [int(token) for token in data]
    return tokens if last_n < 0 else tokens[-last_n:]


def _float_behind(mu: Any) -> ctypes.c_float:
    # byref() gives an object that shows what it refers to as _obj only.
    for value in (mu, getattr(mu, "_obj", None), getattr(mu, "contents", None)):
        if isinstance(value, ctypes.c_float):
            return value
    raise InvalidArgumentError(f"mu must be a ctypes c_float or a pointer to one, not {mu!r}")
