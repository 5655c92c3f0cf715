"""``Terms``: on which terms a request is served. Pure Python."""

from __future__ import annotations

from typing import NamedTuple


class Terms(NamedTuple):
    """On which terms a request is served.

    Attributes:
        priority: Higher ones come first, and take the slots of lower ones where none is free.
        deadline: When it ends at the latest, by ``time.monotonic``; None: never.
        shifts: Whether a full sequence forgets its older half; None: as the engine does.
        account: Whose request it is: among equals those come first who got least.
    """

    priority: int = 0
    deadline: float | None = None
    shifts: bool | None = None
    account: str = ""
