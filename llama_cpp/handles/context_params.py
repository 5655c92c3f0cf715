"""What a context is created from, checked before the engine sees it."""

from __future__ import annotations

import os

from .. import llama_cpp as raw
from ..errors import ContextError, InvalidArgumentError, OutOfMemoryError
from ..native.backend import bridge
from ..validation import native_arguments as checks
from .model import Model

# The KV cache needs types that the CPU and GPU kernels can write row by row; common/arg.cpp of
# llama.cpp offers the same ones.
KV_TYPES = (
    raw.GGML_TYPE_F32, raw.GGML_TYPE_F16, raw.GGML_TYPE_BF16, raw.GGML_TYPE_Q8_0,
    raw.GGML_TYPE_Q4_0, raw.GGML_TYPE_Q4_1, raw.GGML_TYPE_IQ4_NL, raw.GGML_TYPE_Q5_0,
    raw.GGML_TYPE_Q5_1,
)  # fmt: skip
_BATCH_MAX = 1 << 24  # the engine makes room for a whole batch at once
_BYTES_PER_CELL = 40  # of llama_kv_cells: position, shift, set of sequences


def check_params(
    params: raw.llama_context_params, model: Model, *, with_weights: bool = True
) -> None:
    """Refuse parameters that the engine would abort on, or silently make something else of.

    Args:
        params: Of the context.
        model: Of the context.
        with_weights: Whether it is to compute, for which the model has to have its weights.

    Raises:
        ContextError: They contradict each other or the model.
        InvalidArgumentError: One is out of range.
    """
    checks.instance(params, raw.llama_context_params, "params")
    if model.params.vocab_only or (with_weights and model.params.no_alloc):
        raise ContextError("the model was loaded without its weights (vocab_only): reload it")
    for name in ("type_k", "type_v"):
        value = getattr(params, name)
        if value not in KV_TYPES:
            names = [(raw.ggml_type_name(t) or b"?").decode() for t in KV_TYPES]
            raise ContextError(f"{name}={value} cannot hold a KV cache: use one of {names}")
    checks.in_range("n_batch", params.n_batch, 1, _BATCH_MAX)
    checks.in_range("n_ubatch", params.n_ubatch, 0, _BATCH_MAX)
    checks.in_range("n_ctx", params.n_ctx, 0, checks.INT32_MAX)
    checks.in_range("n_seq_max", params.n_seq_max, 1, raw.llama_max_parallel_sequences())
    checks.in_range("n_threads", params.n_threads, 1, raw.GGML_MAX_N_THREADS)
    checks.in_range("n_threads_batch", params.n_threads_batch, 1, raw.GGML_MAX_N_THREADS)
    checks.in_range("rope_scaling_type", params.rope_scaling_type, -1, 3)
    checks.in_range("pooling_type", params.pooling_type, -1, 4)
    checks.in_range("attention_type", params.attention_type, -1, 1)
    checks.in_range("flash_attn_type", params.flash_attn_type, -1, 1)
    checks.in_range("ctx_type", params.ctx_type, 0, 1)
    if params.ctx_type == raw.LLAMA_CONTEXT_TYPE_MTP:
        _check_head(model)
    if params.n_rs_seq and (model.is_recurrent or model.is_hybrid):
        n_tokens = min(params.n_ubatch or params.n_batch, params.n_batch)
        checks.in_range("n_rs_seq", params.n_rs_seq, 0, max(0, n_tokens - 2), "below n_ubatch - 1")
    for name in ("rope_freq_base", "rope_freq_scale"):
        checks.in_range(name, getattr(params, name), 0.0, checks.FLOAT32_MAX, "0: the model's own")
    for name in ("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow"):
        checks.in_range(name, getattr(params, name), -checks.FLOAT32_MAX, checks.FLOAT32_MAX)
    n_ctx = params.n_ctx or model.n_ctx_train
    _check_cells(n_ctx)
    if params.n_seq_max > (params.n_outputs_max or min(params.n_batch, n_ctx)):
        raise ContextError(
            f"n_seq_max={params.n_seq_max} is larger than n_batch, n_outputs_max or n_ctx: a batch "
            "must have room for a token, and an output, of each sequence"
        )
    if model.has_encoder and params.n_seq_max > 1 and not params.kv_unified:
        raise ContextError("the engine wants kv_unified for several sequences of this model")
    _check_mean_pooling(params, model, n_ctx)


def _check_head(model: Model) -> None:
    heads = model.call(raw.llama_model_n_layer_nextn)
    if not heads:
        why = "this model has no layers for multi-token prediction"
    elif not model.params.load_mtp:
        why = "the model was loaded without its layers for multi-token prediction"
    elif not model.call(bridge("bridge_has_head")):
        why = (
            "its layers for multi-token prediction are missing in the file, or of a kind that is "
            f"not supported ({model.header.architecture}, {heads} layers)"
        )
    else:
        return
    raise InvalidArgumentError(
        f'{why}, so that draft_model cannot be "mtp": take "ngram", the path of a smaller model '
        "with the same vocabulary, or a Llama of one"
    )


def _check_cells(n_ctx: int) -> None:
    # The engine touches these bytes, and gets killed for it, before it asks for the cells' memory.
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_ctx * _BYTES_PER_CELL > memory // 2:
        raise OutOfMemoryError(
            f"n_ctx={n_ctx} cells do not fit into the {memory >> 20} MiB of this machine: lower it"
        )


def _check_mean_pooling(params: raw.llama_context_params, model: Model, n_ctx: int) -> None:
    # The engine measures a graph in which each sequence has the same number of tokens; for mean
    # pooling it forgets to round the number of outputs like that of the tokens, and aborts.
    kind, n_seq_max = model.header.architecture, params.n_seq_max
    pooling: object = params.pooling_type
    if pooling == raw.LLAMA_POOLING_TYPE_UNSPECIFIED:
        pooling = model.hyperparameters.get(f"{kind}.pooling_type", pooling)
    if pooling != raw.LLAMA_POOLING_TYPE_MEAN:
        return
    causal = model.hyperparameters.get(f"{kind}.attention.causal")
    if params.attention_type != raw.LLAMA_ATTENTION_TYPE_UNSPECIFIED:
        causal = params.attention_type == raw.LLAMA_ATTENTION_TYPE_CAUSAL
    n_ctx_all = _padded(n_ctx)
    if not params.kv_unified:
        n_ctx_all = _padded(n_ctx_all // n_seq_max) * n_seq_max
    for is_causal in (True, False) if causal is None else (causal,):
        n_batch = min(params.n_batch, n_ctx) if is_causal else params.n_batch
        n_tokens = min(n_ctx_all, n_batch, params.n_ubatch or params.n_batch)
        if n_tokens % n_seq_max:
            raise ContextError(
                f"with mean pooling n_seq_max={n_seq_max} must divide n_ubatch, here {n_tokens}: "
                f"use n_ubatch={n_tokens // n_seq_max * n_seq_max or n_seq_max}"
            )


def _padded(n_ctx: int) -> int:
    return (n_ctx + 255) // 256 * 256
