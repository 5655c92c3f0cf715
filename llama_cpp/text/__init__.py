"""Text as it is being written: whole characters, and where it has to stop. Pure Python."""

from .pieces import Pieces
from .stops import StopFinder, StopStrings
from .utf8 import Utf8Decoder

__all__ = ["Pieces", "StopFinder", "StopStrings", "Utf8Decoder"]
