"""llama-cpp-python's classes between the raw C API and ``Llama``: safe, but without comfort.

::

    import llama_cpp
    from llama_cpp import _internals

    model = _internals.LlamaModel(
        path_model="model.gguf", params=llama_cpp.llama_model_default_params()
    )
    ctx = _internals.LlamaContext(model=model, params=llama_cpp.llama_context_default_params())
    batch = _internals.LlamaBatch(n_tokens=512, embd=0, n_seq_max=1)
    batch.set_batch(model.tokenize(b"Hello", add_bos=True, special=False), 0, logits_all=False)
    ctx.decode(batch)
    sampler = _internals.LlamaSampler()
    sampler.add_greedy()
    print(model.token_to_piece(sampler.sample(ctx)))

None of them owns native memory: the handle behind an object is its ``handle``, which frees itself
when the last object that needs it is gone, or earlier by ``close()``. ``verbose`` changes nothing
here: nothing prints, and ``llama_cpp.set_verbose`` sets what the logger ``llama_cpp`` gets to see.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._utils import suppress_stdout_stderr
from ..compat.names import lookup as _lookup
from ..constraints.gbnf import LlamaGrammar
from ..llama_types import *
from .batch import LlamaBatch, LlamaTokenDataArray
from .context import LlamaContext
from .model import LlamaModel
from .sampler import CustomSampler, LlamaSampler
from .sampling_context import LlamaSamplingContext, LlamaSamplingParams

__all__ = [
    "CustomSampler",
    "LlamaBatch",
    "LlamaContext",
    "LlamaGrammar",
    "LlamaModel",
    "LlamaSampler",
    "LlamaSamplingContext",
    "LlamaSamplingParams",
    "LlamaTokenDataArray",
    "normalize_embedding",
    "suppress_stdout_stderr",
]


def normalize_embedding(embedding: Sequence[float]) -> list[float]:
    """An embedding scaled to length 1; one of zeros stays as it is."""
    import numpy as np

    length = float(np.linalg.norm(embedding))
    return [float(value) / (length or 1.0) for value in embedding]


# For scripts: see `compat.names`.
__getattr__ = _lookup(__name__)
