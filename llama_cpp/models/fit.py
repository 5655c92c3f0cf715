"""How large a context, and how many layers on the GPU, fit into the memory that there is."""

from __future__ import annotations

from collections.abc import Callable

from .. import llama_cpp as raw
from ..errors import OutOfMemoryError
from ..handles import Model
from ..handles.footprint import estimate, fit_layers
from ..validation.numbers import integer
from .params import ContextParams, NativeModelParams

SizedParams = Callable[[int], raw.llama_context_params]

_STEP = 256
"""The engine rounds a context up to a multiple of this."""

_LIMIT_MAX = 2**63 - 1


def fit(path: str, params: NativeModelParams, wanted: ContextParams, *, drafts: bool) -> int:
    """Decide before a model is loaded what is to be decided about it.

    Args:
        path: The model.
        params: Where they leave the layers open, they are told how many go on the GPU.
        wanted: What the context is made with; ``n_ctx`` 0 stands for as many tokens as go.
        drafts: Whether guesses of tokens are to be checked.

    Returns:
        Tokens of a sequence.

    Raises:
        OutOfMemoryError: Model and context take more than the limit, or no number of layers fits.
        LlamaError: What loading the model raises.
    """
    n_ctx, memory_limit = wanted.n_ctx, wanted.memory_limit
    if memory_limit is not None:
        memory_limit = integer("memory_limit", memory_limit, 1, _LIMIT_MAX)
    elif not params.is_open:
        return n_ctx
    with Model(path, params.without_weights()) as model:

        def context(n_ctx: int) -> raw.llama_context_params:
            return wanted.struct(
                n_ctx,
                n_ctx_train=model.n_ctx_train,
                has_encoder=model.has_encoder,
                has_state=model.is_recurrent or model.is_hybrid,
                drafts=drafts,
            )

        if memory_limit is not None:
            n_ctx = _largest(model, context, n_ctx, memory_limit)
        if params.is_open:
            params.keep(fit_layers(model.path, params.struct, context(n_ctx)))
    return n_ctx


def _largest(model: Model, context: SizedParams, n_ctx: int, limit: int) -> int:
    """Return ``n_ctx``, or if it is 0 the largest one with which the limit holds."""
    largest = n_ctx or model.n_ctx_train
    smallest = n_ctx or min(_STEP, largest)
    need = estimate(model, context(smallest))
    if need.used > limit:
        raise OutOfMemoryError(
            f"with n_ctx={smallest} the model takes {need.used:,} bytes ({need.weights:,} for "
            f"weights, {need.cache:,} for the cache, {need.compute:,} for computing), and "
            f"memory_limit={limit:,}: raise it, lower {'n_ctx, ' if n_ctx else ''}n_parallel or "
            "n_ubatch, or take a smaller quantization"
        )
    if _fits(model, context(largest), limit):
        return largest
    low, high = 1, -(-largest // _STEP)  # in steps; the first fits, the last does not
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(model, context(middle * _STEP), limit):
            low = middle
        else:
            high = middle
    return low * _STEP


def _fits(model: Model, params: raw.llama_context_params, limit: int) -> bool:
    try:
        return estimate(model, params).used <= limit
    except OutOfMemoryError:
        return False
