"""``SamplingParams``: every number that says how a token is chosen, checked. Pure Python."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import InvalidArgumentError
from ..validation.numbers import integer, number, truth
from .options import WITHOUT_EFFECT, SamplingOptions, check_names

SAMPLERS = (
    "penalties", "dry", "top_n_sigma", "top_k", "typical_p", "top_p", "min_p", "xtc",
    "temperature", "infill", "adaptive_p",
)  # fmt: skip
"""What ``SamplingParams.samplers`` may name, as llama.cpp's ``--samplers`` does."""

DEFAULT_ORDER = tuple(name for name in SAMPLERS if name not in ("infill", "adaptive_p"))
"""llama-cpp-python's order, with the samplers that it lacks where llama.cpp has them."""

RANDOM_SEED = 2**32 - 1
"""Stands for a random seed: llama.cpp's ``LLAMA_DEFAULT_SEED``."""

_INT32_MAX = 2**31 - 1
# Name: lowest and highest value.
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (-math.inf, math.inf),
    "dynatemp_range": (0, math.inf),
    "dynatemp_exponent": (0, math.inf),
    "top_p": (0, math.inf),
    "min_p": (0, math.inf),
    "typical_p": (0, math.inf),
    "top_n_sigma": (-math.inf, math.inf),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "dry_multiplier": (0, math.inf),
    "dry_base": (0, math.inf),
    "repeat_penalty": (0, math.inf),
    "frequency_penalty": (-math.inf, math.inf),
    "presence_penalty": (-math.inf, math.inf),
    "mirostat_tau": (0, math.inf),
    "mirostat_eta": (0, math.inf),
    "adaptive_target": (-math.inf, 1),
    "adaptive_decay": (0, 0.99),
}
_INTEGERS: Mapping[str, tuple[int, int]] = {
    "top_k": (-_INT32_MAX, _INT32_MAX),
    "min_keep": (0, _INT32_MAX),
    "penalty_last_n": (-1, _INT32_MAX),
    "dry_allowed_length": (0, _INT32_MAX),
    "dry_penalty_last_n": (-1, _INT32_MAX),
    "mirostat_mode": (0, 2),
}


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen. A parameter at its neutral value costs nothing.

    Attributes:
        temperature: Divides the logits; 0 takes the likeliest token. With a negative one tokens
            are drawn from the plain softmax, and no sampler but the penalties counts, as in
            llama-cpp-python.
        dynatemp_range: The temperature varies by so much with the entropy; 0 is off
            (https://arxiv.org/abs/2309.02772).
        dynatemp_exponent: How entropy maps to temperature.
        top_k: Keep the k likeliest; <= 0 keeps all.
        top_p: Keep the likeliest that sum up to p; >= 1 keeps all.
        min_p: Keep those at least p times as likely as the best; 0 keeps all.
        typical_p: Keep those of about average information; >= 1 keeps all.
        top_n_sigma: Keep those within n standard deviations of the best logit; <= 0 is off.
        xtc_probability: How often the likeliest are left out, 0 is never.
        xtc_threshold: Those above it are left out, but for the last one.
        dry_multiplier: Strength of the penalty on repeated sequences; 0 is off.
        dry_base: Its growth with the length of the repetition.
        dry_allowed_length: Repetitions up to this length are free.
        dry_penalty_last_n: How many tokens it looks back, -1 the whole context.
        dry_sequence_breakers: Texts that end a repetition.
        repeat_penalty: Divides the logits of tokens seen before; 1 is off.
        frequency_penalty: Subtracted per occurrence; 0 is off.
        presence_penalty: Subtracted once; 0 is off.
        penalty_last_n: How many tokens these three look back, -1 the whole context, 0 none.
        mirostat_mode: 0 is off; 1 and 2 are the versions of https://arxiv.org/abs/2007.14966.
        mirostat_tau: Its target surprise, in bits.
        mirostat_eta: Its learning rate.
        adaptive_target: Probability that adaptive-p steers to; negative is off.
        adaptive_decay: How slowly adaptive-p forgets.
        min_keep: So many candidates are left by each sampler at least.
        logit_bias: Added to the logits, by token id; ``-inf`` forbids the token.
        ignore_eos: Forbid the tokens that end a text.
        samplers: Order of the samplers, from ``SAMPLERS``; those left out are not used.
        seed: Of the random choice, 0 to 2**32 - 2; 2**32 - 1 takes a random one.

    Raises:
        InvalidArgumentError: A value is NaN, out of its range or of another type.
    """

    temperature: float = 0.8
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    typical_p: float = 1.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = 64
    mirostat_mode: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    adaptive_target: float = -1.0
    adaptive_decay: float = 0.9
    min_keep: int = 1
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    ignore_eos: bool = False
    samplers: tuple[str, ...] = DEFAULT_ORDER
    seed: int = RANDOM_SEED

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            self._set(name, number(name, getattr(self, name), low, high))
        for name, (lowest, highest) in _INTEGERS.items():
            self._set(name, integer(name, getattr(self, name), lowest, highest))
        self._set("seed", integer("seed", self.seed, 0, RANDOM_SEED))
        if self.repeat_penalty == 0:
            raise InvalidArgumentError("repeat_penalty=0 would divide by zero: 1.0 is off")
        self._set("logit_bias", _checked_bias(self.logit_bias))
        self._set("dry_sequence_breakers", _breakers(self.dry_sequence_breakers))
        self._set("samplers", _order(self.samplers))
        self._set("ignore_eos", truth("ignore_eos", self.ignore_eos))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def of(cls, options: SamplingOptions) -> SamplingParams:
        """Make them of the arguments of a method; no seed, or one of -1, is a random one.

        Raises:
            TypeError: A name is unknown.
            InvalidArgumentError: A value is out of range.
        """
        check_names(options, SamplingOptions.__annotations__)
        given = {
            name: value
            for name, value in options.items()
            if name not in WITHOUT_EFFECT and (name, value) not in _LEFT_OUT
        }
        return cls(**given)  # type: ignore[arg-type]  # checked by __post_init__

    def with_seed(self, seed: int) -> SamplingParams:
        """The same with another seed; the rest was checked, and is not again."""
        other = copy.copy(self)
        other._set("seed", integer("seed", seed, 0, RANDOM_SEED))
        return other

    @property
    def penalizes(self) -> bool:
        """Whether tokens of the text so far change what comes next."""
        penalties = (self.repeat_penalty, self.frequency_penalty, self.presence_penalty)
        repeats = penalties != (1.0, 0.0, 0.0) and self.penalty_last_n != 0
        return repeats or self.dry_multiplier > 0


_LEFT_OUT = (("logit_bias", None), ("seed", None), ("seed", -1))

NAMES = frozenset(each.name for each in fields(SamplingParams))
"""The names of all parameters."""


def _breakers(texts: object) -> tuple[str, ...]:
    if not isinstance(texts, list | tuple) or not all(isinstance(each, str) for each in texts):
        raise InvalidArgumentError(f"dry_sequence_breakers={texts!r} must be a list of texts")
    return tuple(texts)


def _order(samplers: object) -> tuple[str, ...]:
    names: list[Any] = list(samplers) if isinstance(samplers, list | tuple) else [None]
    if any(name not in SAMPLERS or names.count(name) > 1 for name in names):
        raise InvalidArgumentError(
            f"samplers={samplers!r} must be a list in which each of {', '.join(SAMPLERS)} may be "
            "named once"
        )
    return tuple(names)


def _checked_bias(biases: object) -> dict[int, float]:
    if not isinstance(biases, Mapping):
        raise InvalidArgumentError(f"logit_bias must map token ids to numbers, not {biases!r}")
    checked: dict[int, float] = {}
    for key, value in biases.items():
        try:
            # OpenAI's are strings: JSON has no others.
            token = int(key) if isinstance(key, str) else operator.index(key)
        except (TypeError, ValueError):
            raise InvalidArgumentError(f"logit_bias: {key!r} is no token id") from None
        checked[token] = number(f"logit_bias[{key}]", value, -math.inf, _FLOAT32_MAX)
    return checked


_FLOAT32_MAX = 3.4e38
