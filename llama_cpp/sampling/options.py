"""The sampling arguments that methods of ``Llama`` take, for type checkers."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypedDict


class FurtherSamplingOptions(TypedDict, total=False):
    """Sampling parameters that llama-cpp-python lacks: ``SamplingParams`` describes each."""

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


class SamplingOptions(FurtherSamplingOptions, total=False):
    """All sampling parameters: ``SamplingParams`` describes each."""

    temperature: float
    top_p: float
    min_p: float
    typical_p: float
    top_k: int
    frequency_penalty: float
    presence_penalty: float
    repeat_penalty: float
    mirostat_mode: int
    mirostat_tau: float
    mirostat_eta: float
    tfs_z: float
    logit_bias: Mapping[Any, float] | None
    seed: int | None


WITHOUT_EFFECT = frozenset({"tfs_z"})
"""Parameters of samplers that the engine has no longer; scripts still give them."""


def check_names(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse arguments of unknown names.

    Raises:
        TypeError: A name is unknown; the message has the most similar one.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, "stream"], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"unexpected keyword argument {name!r}{hint}")
