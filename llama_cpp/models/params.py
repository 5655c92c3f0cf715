"""``ModelParams`` and ``ContextParams``: what a model is loaded with, checked."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError, ModelLoadError
from ..gguf.kv_overrides import override_array
from ..handles import Context, Model
from ..native.threads import POLL
from ..validation.numbers import integer, plain

N_GPU_LAYERS_ALL = 0x7FFFFFFF
"""What ``n_gpu_layers=-1`` stands for."""

N_OUTPUTS = 16
"""Rows of logits that fit, unless all are wanted: each has an entry per token of the vocabulary."""

N_ROLLBACK = 3
"""How many guesses a recurrent state can forget: it takes as many times its room more."""

_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class ModelParams:
    """How the weights are loaded: ``Llama`` describes each.

    Raises:
        InvalidArgumentError: An argument is out of range or of another type.
    """

    n_gpu_layers: int | str = 0
    split_mode: int = raw.LLAMA_SPLIT_MODE_LAYER
    main_gpu: int = 0
    tensor_split: Sequence[float] | None = None
    vocab_only: bool = False
    use_mmap: bool = True
    use_mlock: bool = False
    kv_overrides: Mapping[str, bool | int | float | str] | None = None

    def __post_init__(self) -> None:
        if self.n_gpu_layers != "auto":
            _layers(self.n_gpu_layers)
        _set_integer(self, "split_mode", 0, 3)
        _set_integer(self, "main_gpu", -1, _INT32_MAX)


class NativeModelParams:
    """``llama_model_params`` and the buffers that it points to.

    Args:
        given: What they are made of.
        progress: Is told the loaded fraction, and returns False to stop.
        load_mtp: Whether the head for multi-token prediction is loaded too.

    Raises:
        InvalidArgumentError: An argument is out of range or of another type.
    """

    def __init__(
        self,
        given: ModelParams,
        *,
        progress: Callable[[float], bool | None] | None = None,
        load_mtp: bool = False,
    ) -> None:
        params = Model.default_params()
        can_offload = raw.llama_supports_gpu_offload()
        self.is_open = given.n_gpu_layers == "auto" and can_offload
        """Whether the number of layers on the GPU is still to be decided."""
        if not self.is_open:
            params.n_gpu_layers = 0 if given.n_gpu_layers == "auto" else _layers(given.n_gpu_layers)
        params.split_mode = given.split_mode
        params.main_gpu = given.main_gpu
        params.vocab_only = bool(given.vocab_only)
        params.load_mode = _load_mode(given.use_mmap, given.use_mlock)
        params.load_mtp = load_mtp
        if given.tensor_split is not None:
            self._split = _tensor_split(given.tensor_split)
            params.tensor_split = self._split
        if given.kv_overrides:
            self._overrides = override_array(given.kv_overrides)
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

_SAME_NAMES = (
    "rope_scaling_type", "pooling_type", "attention_type", "rope_freq_base", "rope_freq_scale",
    "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "offload_kqv",
    "op_offload", "swa_full", "no_perf", "type_k", "type_v",
)  # fmt: skip
"""Fields of the struct; None leaves the engine's default."""


@dataclass(frozen=True)
class ContextParams:
    """What a context is made with: ``Llama`` describes each.

    Raises:
        InvalidArgumentError: An argument is out of range or of another type.
    """

    n_ctx: int = 512
    n_parallel: int = 1
    n_batch: int = 512
    n_ubatch: int = 512
    n_threads: int | None = None
    n_threads_batch: int | None = None
    rope_scaling_type: int | None = raw.LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED
    pooling_type: int = raw.LLAMA_POOLING_TYPE_UNSPECIFIED
    attention_type: int = raw.LLAMA_ATTENTION_TYPE_UNSPECIFIED
    rope_freq_base: float = 0.0
    rope_freq_scale: float = 0.0
    yarn_ext_factor: float = -1.0
    yarn_attn_factor: float = 1.0
    yarn_beta_fast: float = 32.0
    yarn_beta_slow: float = 1.0
    yarn_orig_ctx: int = 0
    logits_all: bool = False
    embedding: bool = False
    offload_kqv: bool = True
    flash_attn: bool | str = "auto"
    op_offload: bool | None = None
    swa_full: bool | None = None
    no_perf: bool = False
    type_k: int | None = None
    type_v: int | None = None
    poll: int = POLL
    context_shift: bool = False
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        _set_integer(self, "n_ctx", 0, _INT32_MAX)
        _set_integer(self, "n_parallel", 1, 256)
        _set_integer(self, "n_batch", 1, _INT32_MAX)
        _set_integer(self, "n_ubatch", 1, _INT32_MAX)
        for name in ("n_threads", "n_threads_batch"):
            if getattr(self, name) is not None:
                _set_integer(self, name, 1, raw.GGML_MAX_N_THREADS)
        _set_integer(self, "yarn_orig_ctx", 0, _INT32_MAX)
        _flash_attn(self.flash_attn)

    def struct(
        self, n_ctx: int, *, n_ctx_train: int, has_encoder: bool, has_state: bool, drafts: bool
    ) -> raw.llama_context_params:
        """Fill in ``llama_context_params``.

        Args:
            n_ctx: Tokens of ONE sequence; 0 takes what the model was trained with.
            n_ctx_train: What that is.
            has_encoder: Whether the model has an encoder.
            has_state: Whether it is recurrent or hybrid.
            drafts: Whether guesses of tokens are to be checked.

        Raises:
            InvalidArgumentError: An argument is out of range or of another type.
        """
        params = Context.default_params()
        n_parallel = self.n_parallel
        per_sequence = n_ctx or n_ctx_train
        params.n_seq_max = n_parallel
        params.n_ctx = integer("n_ctx * n_parallel", per_sequence * n_parallel, 1, _INT32_MAX)
        params.n_batch = max(min(self.n_batch, params.n_ctx), n_parallel)
        # At least a token per sequence, so that all of them go on in every step.
        params.n_ubatch = min(params.n_batch, max(self.n_ubatch, n_parallel))
        # A stream of its own for each sequence: nobody attends to the cells of the others.
        params.kv_unified = has_encoder
        if self.n_threads is not None:
            params.n_threads = self.n_threads
        if self.n_threads_batch is not None:
            params.n_threads_batch = self.n_threads_batch
        params.embeddings = bool(self.embedding)
        if not (self.logits_all or self.embedding):
            params.n_outputs_max = min(max(N_OUTPUTS, n_parallel), params.n_batch)
        # The engine puts so many tokens, and one before them, into a micro-batch with more room.
        if has_state and drafts and params.n_ubatch > N_ROLLBACK + 1:
            params.n_rs_seq = N_ROLLBACK
        params.flash_attn_type = _flash_attn(self.flash_attn)
        params.yarn_orig_ctx = self.yarn_orig_ctx
        for name in _SAME_NAMES:
            value = getattr(self, name)
            if value is not None:
                try:
                    setattr(params, name, -1.0 if value == _YARN_DEFAULTS.get(name) else value)
                except TypeError:
                    raise InvalidArgumentError(f"{name}={value!r} is of a wrong type") from None
        return params


def arguments_of(params: ModelParams | ContextParams) -> dict[str, Any]:
    """The arguments that parameters were made of."""
    return {each.name: getattr(params, each.name) for each in fields(params)}


def _set_integer(params: ModelParams | ContextParams, name: str, low: int, high: int) -> None:
    object.__setattr__(params, name, integer(name, getattr(params, name), low, high))


def _flash_attn(value: bool | str) -> int:
    own = plain(value)
    kinds: dict[object, int] = {
        True: raw.LLAMA_FLASH_ATTN_TYPE_ENABLED,
        False: raw.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        "auto": raw.LLAMA_FLASH_ATTN_TYPE_AUTO,
    }
    if not isinstance(own, bool | int | str) or own not in kinds:
        raise InvalidArgumentError(f'flash_attn={value!r} must be True, False or "auto"')
    return kinds[own]
