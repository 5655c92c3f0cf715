"""Native objects that free themselves and cannot be misused: the only callers of the raw API.

* ``Model``, ``Vocab``: weights, tokenizer and metadata of a GGUF file.
* ``Context``, ``Batch``: decoding; ``Context.memory`` and ``Context.state`` for what it remembers.
* ``Sampler``, ``SamplerChain``, ``Candidates``; ``samplers`` has one function per kind.
* ``ChatTemplates``, ``ReplyParser``: from messages to a prompt, and from a reply to a message.
* ``LoraAdapter``, ``ControlVector``: changes to a model at run time.
"""

from __future__ import annotations

from . import sampler_kinds as samplers
from .adapter import ControlVector, LoraAdapter
from .base import Handle
from .batch import Batch
from .candidates import Candidates
from .chat_templates import ChatTemplates, ReplyParser
from .context import Context
from .memory import Memory
from .model import Model
from .sampler import Sampler, SamplerChain
from .state import State
from .vocab import Vocab

__all__ = [
    "Batch",
    "Candidates",
    "ChatTemplates",
    "Context",
    "ControlVector",
    "Handle",
    "LoraAdapter",
    "Memory",
    "Model",
    "ReplyParser",
    "Sampler",
    "SamplerChain",
    "State",
    "Vocab",
    "samplers",
]
