"""From ``SamplingParams`` to a native chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..handles import Model, Sampler, SamplerChain, samplers
from ..handles.matcher import Matcher
from ..handles.token_sampler import TokenSampler
from .params import SamplingParams

# With more of them, looking for the best of the row saves nothing.
_BEST_MAX = 256

FORBIDDEN = float("-inf")

# Next to the best one, what is less likely has no probability in single precision.
_POSSIBLE = 1e-37


def token_sampler(
    params: SamplingParams,
    model: Model,
    *,
    constraint: Sampler | Matcher | None = None,
    history: Sequence[int] = (),
) -> TokenSampler:
    """Build what chooses the tokens of one request.

    Samplers at their neutral values are left out: each would look at every candidate.

    Args:
        params: How to choose.
        model: Whose tokens they are.
        constraint: What the text has to look like; it is owned from now on.
        history: The tokens so far, which penalties look back at.

    Raises:
        TokenError: ``logit_bias`` names a token outside of the vocabulary.
    """
    chain = SamplerChain()
    biases = dict(params.logit_bias)
    if params.ignore_eos:
        biases.update(dict.fromkeys(model.vocab.eog_tokens, FORBIDDEN))
    active = [name for name in params.samplers if not _is_neutral(name, params, model)]
    historical = [name for name in active if name in _HISTORICAL]
    n_best = 0
    if params.temperature < 0:
        _add(chain, params, model, historical)
        chain.add(samplers.dist(params.seed))
    elif params.mirostat_mode:
        _add(chain, params, model, historical)
        chain.add(samplers.temp(params.temperature))
        chain.add(_mirostat(params, model))
    elif params.temperature == 0:
        _add(chain, params, model, historical)
        n_best = 0 if historical else 1
        chain.add(samplers.greedy())
    else:
        if active[:1] == ["top_k"] and params.top_k <= _BEST_MAX:
            n_best = params.top_k
        _add(chain, params, model, active)
        chain.add(_last(params))
    if params.penalizes:
        # Negative numbers stand for images and sounds.
        tokens = [token for token in history if token >= 0]
        for token in tokens[-_reach(params) :] if _reach(params) else tokens:
            chain.accept(token)
    return TokenSampler(chain, model.n_vocab, constraint, n_best, biases)


class EndTokens(dict[int, bool]):
    """By token, whether a text ends with it: each is asked for once.

    Args:
        is_end: Whether a token ends a text.
    """

    def __init__(self, is_end: Callable[[int], bool]) -> None:
        super().__init__()
        self._is_end = is_end

    def __missing__(self, token: int) -> bool:
        self[token] = is_end = self._is_end(token)
        return is_end


_HISTORICAL = ("penalties", "dry")


def _add(chain: SamplerChain, params: SamplingParams, model: Model, names: Sequence[str]) -> None:
    for name in names:
        if name == "typical_p":
            # Its entropy is NaN as soon as one candidate, forbidden or not, has probability 0.
            chain.add(samplers.min_p(_POSSIBLE))
        chain.add(_MAKERS[name](params, model))


def _is_neutral(name: str, params: SamplingParams, model: Model) -> bool:
    is_neutral = _NEUTRAL.get(name)
    return is_neutral is not None and is_neutral(params, model)


_NEUTRAL: dict[str, Callable[[SamplingParams, Model], bool]] = {
    "penalties": lambda p, _: (
        p.penalty_last_n == 0
        or (p.repeat_penalty, p.frequency_penalty, p.presence_penalty) == (1.0, 0.0, 0.0)
    ),
    "dry": lambda p, _: p.dry_multiplier == 0 or p.dry_penalty_last_n == 0,
    "top_n_sigma": lambda p, _: p.top_n_sigma <= 0,
    "top_k": lambda p, model: not 0 < p.top_k < model.n_vocab,
    "typical_p": lambda p, _: p.typical_p >= 1,
    "top_p": lambda p, _: p.top_p >= 1,
    "min_p": lambda p, _: p.min_p == 0,
    "xtc": lambda p, _: p.xtc_probability == 0 or p.xtc_threshold > 0.5,
    "temperature": lambda p, _: p.temperature == 1 and p.dynatemp_range == 0,
    # It chooses a token, so it is the last one, wherever it is named.
    "adaptive_p": lambda p, _: True,
}

_MAKERS: dict[str, Callable[[SamplingParams, Model], Sampler]] = {
    "penalties": lambda p, model: samplers.penalties(
        model.n_vocab, _tokens_back(p.penalty_last_n, model), p.repeat_penalty,
        p.frequency_penalty, p.presence_penalty,
    ),
    "dry": lambda p, model: samplers.dry(
        model.vocab, p.dry_multiplier, p.dry_base, p.dry_allowed_length,
        _tokens_back(p.dry_penalty_last_n, model), p.dry_sequence_breakers,
    ),
    "top_n_sigma": lambda p, _: samplers.top_n_sigma(p.top_n_sigma),
    "top_k": lambda p, _: samplers.top_k(max(p.top_k, p.min_keep)),
    "typical_p": lambda p, _: samplers.typical(p.typical_p, p.min_keep),
    "top_p": lambda p, _: samplers.top_p(p.top_p, p.min_keep),
    "min_p": lambda p, _: samplers.min_p(p.min_p, p.min_keep),
    "xtc": lambda p, _: samplers.xtc(p.xtc_probability, p.xtc_threshold, p.min_keep, p.seed),
    "temperature": lambda p, _: (
        samplers.temp_ext(p.temperature, p.dynatemp_range, p.dynatemp_exponent)
        if p.dynatemp_range
        else samplers.temp(p.temperature)
    ),
    "infill": lambda _, model: samplers.infill(model.vocab),
}  # fmt: skip


def _last(params: SamplingParams) -> Sampler:
    if params.adaptive_target >= 0:
        return samplers.adaptive_p(params.adaptive_target, params.adaptive_decay, params.seed)
    return samplers.dist(params.seed)


def _mirostat(params: SamplingParams, model: Model) -> Sampler:
    tau, eta = params.mirostat_tau, params.mirostat_eta
    if params.mirostat_mode == 1:
        return samplers.mirostat(model.n_vocab, params.seed, tau, eta)
    return samplers.mirostat_v2(params.seed, tau, eta)


def _tokens_back(last_n: int, model: Model) -> int:
    return model.n_ctx_train if last_n < 0 else last_n


def _reach(params: SamplingParams) -> int:
    """How many tokens the penalties look back; 0 says all of them."""
    if params.penalty_last_n < 0 or (params.dry_multiplier > 0 and params.dry_penalty_last_n < 0):
        return 0
    return max(params.penalty_last_n, params.dry_penalty_last_n if params.dry_multiplier else 0)
