"""What a call's sampling parameters are where it says nothing."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ..errors import InvalidArgumentError
from ..validation.numbers import plain
from .options import SamplingOptions
from .params import RANDOM_SEED, SamplingParams

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SamplingDefaults:
    """The seeds of calls without one of their own, and how far penalties look back.

    Args:
        seed: What those seeds follow from; 2**32 - 1, or a negative number, takes a random one.
        penalty_last_n: How many tokens the penalties look back.

    Raises:
        InvalidArgumentError: The seed is no integer below 2**32.
    """

    def __init__(self, seed: int, penalty_last_n: int) -> None:
        self.penalty_last_n = penalty_last_n
        self.set_seed(seed)

    def set_seed(self, seed: int) -> None:
        """Begin the seeds anew.

        Raises:
            InvalidArgumentError: It is no integer below 2**32.
        """
        own = plain(seed)
        if isinstance(own, bool) or not isinstance(own, int) or own >= 2**32:
            raise InvalidArgumentError(f"seed={seed!r} must be an integer below 2**32")
        seed = own
        is_random = seed < 0 or seed == RANDOM_SEED
        self.seed = RANDOM_SEED if is_random else seed
        self._seeds = random.Random(None if is_random else seed)

    def params(self, **options: Unpack[SamplingOptions]) -> SamplingParams:
        """Make parameters of some, with these defaults for what is left out.

        Raises:
            InvalidArgumentError: A value is out of range.
        """
        options.setdefault("penalty_last_n", self.penalty_last_n)
        return self.seeded(SamplingParams.of(options))

    def seeded(self, params: SamplingParams) -> SamplingParams:
        """Give parameters that ask for a random seed the next one."""
        if params.seed != RANDOM_SEED:
            return params
        return params.with_seed(self._seeds.randrange(RANDOM_SEED))
