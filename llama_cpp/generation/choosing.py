"""Which of several texts a model finds likeliest to follow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidArgumentError
from .generator import Generator
from .measures import Measured, Measurement, Records


@dataclass(frozen=True)
class Choice:
    """The likeliest of several texts.

    Attributes:
        text: The text.
        index: Its place among the options.
        probabilities: How likely each option is among them; they sum up to 1.
        logprobs: The log-probability of each among all texts.
    """

    text: str
    index: int
    probabilities: dict[str, float]
    logprobs: dict[str, float]


def checked_options(options: Any) -> list[str]:
    """Return the options of a choice.

    Raises:
        InvalidArgumentError: There are none, or one is no text, empty, or there twice.
    """
    if isinstance(options, str) or not isinstance(options, Sequence) or not options:
        raise InvalidArgumentError(f"options={options!r} must be a list of at least one text")
    for each in options:
        if not isinstance(each, str) or not each:
            raise InvalidArgumentError(f"an option must be a text that is not empty, not {each!r}")
    if len(set(options)) < len(options):
        raise InvalidArgumentError(f"options={options!r} has a text twice")
    return list(options)


def need_ends(options: Sequence[str]) -> bool:
    """Whether one option begins another."""
    # What begins with a text comes right behind it, or behind another that begins with it.
    in_order = sorted(options)
    return any(b.startswith(a) for a, b in itertools.pairwise(in_order))


def choosing(
    generator: Generator, parts: Sequence[Measured], options: Sequence[str]
) -> Measurement[Choice]:
    """Measure which option is likeliest.

    Args:
        generator: The model.
        parts: The prompt with each of the options.
        options: Their texts.
    """
    # A token may span the seam of the prompt and some options: all are measured from there on.
    start = min(part.start for part in parts)

    def shape(records: list[Records]) -> Choice:
        logprobs = [math.fsum(each.logprobs) for each in records]
        best = max(range(len(options)), key=logprobs.__getitem__)
        shares = [math.exp(logprob - logprobs[best]) for logprob in logprobs]
        total = math.fsum(shares)
        return Choice(
            options[best],
            best,
            {text: share / total for text, share in zip(options, shares, strict=True)},
            dict(zip(options, logprobs, strict=True)),
        )

    return Measurement(generator, [Measured(part.tokens, start) for part in parts], shape)
