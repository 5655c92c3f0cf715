"""Text as it is being written: whole characters, and where it has to stop. Pure Python."""

from .pieces import Pieces
from .stops import StopFinder, StopStrings
from .thoughts import ThoughtFinder, ThoughtTags
from .triggers import TriggerFinder, Triggers
from .utf8 import Utf8Decoder

__all__ = [
    "Pieces", "StopFinder", "StopStrings", "ThoughtFinder", "ThoughtTags", "TriggerFinder",
    "Triggers", "Utf8Decoder",
]  # fmt: skip
