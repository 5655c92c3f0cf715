"""The sampling arguments that every generating method takes beyond llama-cpp-python's."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from .params import NAMES, SamplingParams

NAMED = (
    "temperature", "top_p", "min_p", "typical_p", "frequency_penalty", "presence_penalty",
    "repeat_penalty", "top_k", "mirostat_mode", "mirostat_tau", "mirostat_eta", "logit_bias",
)  # fmt: skip
"""The parameters that have always had a place of their own in the signatures."""


class SamplingOptions(TypedDict, total=False):
    """Further sampling parameters: see ``SamplingParams``, where each is described."""

    dynatemp_range: float
    dynatemp_exponent: float
    top_n_sigma: float
    xtc_probability: float
    xtc_threshold: float
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_penalty_last_n: int
    dry_sequence_breakers: Sequence[str]
    penalty_last_n: int
    adaptive_target: float
    adaptive_decay: float
    min_keep: int
    ignore_eos: bool
    samplers: Sequence[str]


def sampling_params(
    known: Mapping[str, Any], further: Mapping[str, Any], seed: int
) -> SamplingParams:
    """Put arguments together.

    Args:
        known: Those with a parameter of their own.
        further: The ``SamplingOptions``.
        seed: Of the random choice.

    Raises:
        TypeError: A name is unknown.
        InvalidArgumentError: A value is out of range.
    """
    for name in further:
        if name not in SamplingOptions.__annotations__:
            raise TypeError(_unknown(name))
    values = {**known, **further, "seed": seed}
    if values.get("logit_bias") is None:
        values.pop("logit_bias", None)
    return SamplingParams(**values)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, [*NAMES, "max_tokens", "stop", "stream"], 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unexpected keyword argument {name!r}{hint}"
