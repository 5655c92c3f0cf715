"""From parameters to a model with a context."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .. import llama_cpp as raw
from .._internals import LlamaModel
from ..gguf.progress import progress_callback
from ..validation.numbers import integer
from .fit import fit
from .params import ContextParams, ModelParams, NativeModelParams


class LoadedModel(NamedTuple):
    """A model, and what it and its context are made with.

    Attributes:
        model: The weights.
        params: What they were loaded with.
        context_params: What a context is to be made with; None if there is only a vocabulary.
    """

    model: LlamaModel
    params: raw.llama_model_params
    context_params: raw.llama_context_params | None


def load_model(
    path: str,
    given: ModelParams,
    wanted: ContextParams,
    *,
    drafts: bool,
    load_mtp: bool,
    progress: bool | Callable[[float], bool | None],
    verbose: bool,
) -> LoadedModel:
    """Load a model, and decide what its context is made with.

    Args:
        path: A GGUF file.
        given: How the weights are loaded.
        wanted: What the context is made with.
        drafts: Whether guesses of tokens are to be checked.
        load_mtp: Whether the head for multi-token prediction is loaded too.
        progress: Is told the loaded fraction; True shows a bar on a terminal.
        verbose: Whether the engine's messages reach ``logging`` as they come.

    Raises:
        ModelLoadError: One of its subclasses says what is wrong with the file.
        OutOfMemoryError: Model and context do not fit into memory.
        InvalidArgumentError: The context is too large.
    """
    native = NativeModelParams(given, progress=progress_callback(progress), load_mtp=load_mtp)
    n_ctx = wanted.n_ctx if given.vocab_only else fit(path, native, wanted, drafts=drafts)
    model: LlamaModel = native.load(
        lambda params: LlamaModel(path_model=path, params=params, verbose=verbose)
    )
    if given.vocab_only:
        return LoadedModel(model, native.struct, None)
    handle = model.handle
    struct = wanted.struct(
        n_ctx,
        n_ctx_train=handle.n_ctx_train,
        has_encoder=handle.has_encoder,
        has_state=handle.is_recurrent or handle.is_hybrid,
        drafts=drafts,
    )
    return LoadedModel(model, native.struct, struct)


def start_numa(strategy: bool | int) -> None:
    """Tell the engine of the machine's memory: once per process, before anything is loaded.

    Args:
        strategy: True distributes; or ``GGML_NUMA_STRATEGY_*``.

    Raises:
        InvalidArgumentError: It is out of range.
    """
    raw.llama_numa_init(1 if strategy is True else integer("numa", strategy, 0, 4))
