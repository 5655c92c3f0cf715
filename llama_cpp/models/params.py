"""From the arguments of ``Llama`` to the engine's parameter structs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError, ModelLoadError
from ..gguf.kv_overrides import override_array
from ..handles import Context, Model
from ..validation.numbers import integer

N_GPU_LAYERS_ALL = 0x7FFFFFFF
"""What ``n_gpu_layers=-1`` stands for."""

N_OUTPUTS = 16
"""Rows of logits that fit, unless all are wanted: each has an entry per token of the vocabulary."""

N_ROLLBACK = 3
"""How many guesses a recurrent state can forget: it takes as many times its room more."""

_INT32_MAX = 2**31 - 1


class ModelParams:
    """``llama_model_params`` and the buffers that it points to.

    Raises:
        InvalidArgumentError: An argument is out of range or of another type.
    """

    def __init__(
        self,
        *,
        n_gpu_layers: int | str,
        split_mode: int,
        main_gpu: int,
        tensor_split: Sequence[float] | None,
        vocab_only: bool,
        use_mmap: bool,
        use_mlock: bool,
        kv_overrides: Mapping[str, bool | int | float | str] | None,
        progress: Callable[[float], bool | None] | None,
        load_mtp: bool = False,
    ) -> None:
        params = Model.default_params()
        self.is_open = n_gpu_layers == "auto"
        """Whether the number of layers on the GPU is still to be decided."""
        if self.is_open and not raw.llama_supports_gpu_offload():
            self.is_open, n_gpu_layers = False, 0
        if not self.is_open:
            params.n_gpu_layers = _layers(n_gpu_layers)
        params.split_mode = integer("split_mode", split_mode, 0, 3)
        params.main_gpu = integer("main_gpu", main_gpu, -1, _INT32_MAX)
        params.vocab_only = bool(vocab_only)
        params.load_mode = _load_mode(use_mmap, use_mlock)
        params.load_mtp = load_mtp
        if tensor_split is not None:
            self._split = _tensor_split(tensor_split)
            params.tensor_split = self._split
        if kv_overrides:
            self._overrides = override_array(kv_overrides)
            params.kv_overrides = self._overrides
        self.error: BaseException | None = None
        if progress is not None:
            self._progress = raw.llama_progress_callback(self._reporter(progress))
            params.progress_callback = self._progress
        self.struct = params

    def load(self, create: Callable[[raw.llama_model_params], Any]) -> Any:
        """Load the model; an exception of the progress callback stops that and is raised here."""
        try:
            return create(self.struct)
        except ModelLoadError:
            if self.error is not None:
                raise self.error from None
            raise

    def keep(self, buffers: Any) -> None:
        """Keep what the parameters point to."""
        self._buffers = buffers

    def without_weights(self) -> raw.llama_model_params:
        """The same parameters, for a model that is to be measured only."""
        params = type(self.struct).from_buffer_copy(self.struct)
        params.no_alloc = True
        params.load_mode = raw.LLAMA_LOAD_MODE_NONE
        params.progress_callback = raw.llama_progress_callback()
        return params

    def _reporter(self, progress: Callable[[float], bool | None]) -> Callable[[float, Any], bool]:
        def report(fraction: float, _: Any) -> bool:
            try:
                if progress(fraction) is not False:
                    return True
                self.error = ModelLoadError("loading was cancelled by the progress callback")
            except BaseException as error:
                self.error = error
            return False

        return report


def _layers(value: int | str) -> int:
    try:
        layers = integer("n_gpu_layers", value, -1, _INT32_MAX)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f'{error}, or "auto"') from None
    return N_GPU_LAYERS_ALL if layers == -1 else layers


def _load_mode(use_mmap: bool, use_mlock: bool) -> int:
    if use_mmap:
        return raw.LLAMA_LOAD_MODE_MMAP_MLOCK if use_mlock else raw.LLAMA_LOAD_MODE_MMAP
    return raw.LLAMA_LOAD_MODE_MLOCK if use_mlock else raw.LLAMA_LOAD_MODE_NONE


def _tensor_split(shares: Sequence[float]) -> Any:
    n_devices = int(raw.llama_max_devices())
    try:
        numbers = [float(share) for share in shares]
    except (TypeError, ValueError):
        numbers = [-1.0]
    if len(numbers) > n_devices or any(not 0 <= share < float("inf") for share in numbers):
        raise InvalidArgumentError(
            f"tensor_split={shares!r} must be at most {n_devices} shares, none of them negative"
        )
    return (ctypes.c_float * n_devices)(*numbers)


# Those of ``Llama`` are what YaRN has without metadata: a model's own are better where it has them,
# which the engine takes for negative numbers.
_YARN_DEFAULTS = {"yarn_attn_factor": 1.0, "yarn_beta_fast": 32.0, "yarn_beta_slow": 1.0}


def context_params(
    *,
    n_ctx: int,
    n_ctx_train: int,
    n_parallel: int,
    n_batch: int,
    n_ubatch: int,
    n_threads: int | None,
    n_threads_batch: int | None,
    logits_all: bool,
    embedding: bool,
    flash_attn: bool | str,
    has_encoder: bool,
    has_state: bool,
    drafts: bool,
    yarn_orig_ctx: int,
    **same_names: Any,
) -> raw.llama_context_params:
    """Fill in ``llama_context_params``.

    Args:
        n_ctx: Cells of ONE sequence; 0 takes what the model was trained with.
        n_ctx_train: What that is.
        n_parallel: Sequences.
        n_batch: Tokens in one call.
        n_ubatch: Tokens in one graph.
        n_threads: For single tokens; None takes the cores that this process may use.
        n_threads_batch: For batches, likewise.
        logits_all: Whether ``eval`` keeps the logits of every token.
        embedding: Whether the context gives embeddings.
        flash_attn: True, False or "auto".
        has_encoder: Whether the model has an encoder.
        has_state: Whether it is recurrent or hybrid.
        drafts: Whether guesses of tokens are to be checked.
        yarn_orig_ctx: YaRN original context size, 0 for the model's.
        **same_names: Fields of the struct; None leaves the engine's default.

    Raises:
        InvalidArgumentError: An argument is out of range or of another type.
    """
    params = Context.default_params()
    per_sequence = integer("n_ctx", n_ctx, 0, _INT32_MAX) or n_ctx_train
    params.n_seq_max = integer("n_parallel", n_parallel, 1, 256)
    params.n_ctx = integer("n_ctx * n_parallel", per_sequence * n_parallel, 1, _INT32_MAX)
    params.n_batch = max(min(integer("n_batch", n_batch, 1, _INT32_MAX), params.n_ctx), n_parallel)
    # At least a token per sequence, so that all of them go on in every step.
    params.n_ubatch = min(
        params.n_batch, max(integer("n_ubatch", n_ubatch, 1, _INT32_MAX), n_parallel)
    )
    # A stream of its own for each sequence: nobody attends to the cells of the others.
    params.kv_unified = has_encoder
    for name, value in (("n_threads", n_threads), ("n_threads_batch", n_threads_batch)):
        if value is not None:
            setattr(params, name, integer(name, value, 1, raw.GGML_MAX_N_THREADS))
    params.embeddings = bool(embedding)
    if not (logits_all or embedding):
        params.n_outputs_max = min(max(N_OUTPUTS, n_parallel), params.n_batch)
    # The engine puts so many tokens, and one before them, into a micro-batch with room for more.
    if has_state and drafts and params.n_ubatch > N_ROLLBACK + 1:
        params.n_rs_seq = N_ROLLBACK
    params.flash_attn_type = _flash_attn(flash_attn)
    params.yarn_orig_ctx = integer("yarn_orig_ctx", yarn_orig_ctx, 0, _INT32_MAX)
    for name, value in same_names.items():
        if value is not None:
            try:
                setattr(params, name, -1.0 if value == _YARN_DEFAULTS.get(name) else value)
            except TypeError:
                raise InvalidArgumentError(f"{name}={value!r} is of a wrong type") from None
    return params


def _flash_attn(value: bool | str) -> int:
    kinds = {
        True: raw.LLAMA_FLASH_ATTN_TYPE_ENABLED,
        False: raw.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        "auto": raw.LLAMA_FLASH_ATTN_TYPE_AUTO,
    }
    if not isinstance(value, bool | int | str) or value not in kinds:
        raise InvalidArgumentError(f'flash_attn={value!r} must be True, False or "auto"')
    return kinds[value]
