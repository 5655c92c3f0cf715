"""Decoding for any number of requests at once: ``Engine.step`` is where generation happens.

``request``, ``media``, ``slots`` and ``scheduler`` are pure: no native call, tested without the
library. ``sequences`` keeps the context's memory and the slots in agreement, ``viewer`` evaluates
images and sounds, ``drafts`` and ``mtp`` guess tokens, ``engine`` runs the steps.
"""

from .engine import Engine
from .media import MediaPrompt
from .request import Call, Consumer, FinishReason, Logprobs, Request

__all__ = ["Call", "Consumer", "Engine", "FinishReason", "Logprobs", "MediaPrompt", "Request"]
