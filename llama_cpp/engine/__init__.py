"""Decoding for any number of requests at once: ``Engine.step`` is where generation happens.

``request``, ``terms``, ``waiting``, ``media``, ``slots``, ``scheduler`` and ``adapter_spans`` are
pure: no native call, tested without the library. ``sequences`` keeps the context's memory and the
slots in agreement, ``admission`` says who gets which slot, ``media_evaluator`` evaluates images and
sounds, ``speculative`` guesses tokens, ``postprocess`` chooses them, ``step_lock`` says which
thread steps, and ``engine`` runs the steps.
"""

from .engine import Engine
from .media import MediaPrompt
from .request import Call, Consumer, FinishReason, Logprobs, Request

__all__ = ["Call", "Consumer", "Engine", "FinishReason", "Logprobs", "MediaPrompt", "Request"]
