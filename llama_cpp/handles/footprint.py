"""Where the bytes of a model and a context are."""

from __future__ import annotations

import ctypes
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import llama_cpp as raw
from ..errors import LlamaError, OutOfMemoryError
from ..native.backend import bridge, collect_errors, context_error, take_string
from .context import Context
from .context_params import check_params
from .model import Model

_MARGIN = 1 << 30
"""Bytes of each GPU that are left to others, as by llama.cpp's programs."""


@dataclass(frozen=True)
class DeviceMemory:
    """What a model and a context take of one device, in bytes.

    Attributes:
        device: Its name, "CPU" for main memory.
        description: What it is.
        weights: Of the model. What is mapped from the file counts too, even of weights that are
            elsewhere as well because they were repacked for the processor.
        cache: What the context remembers of tokens: KV cache and recurrent states.
        compute: Buffers of a decode.
        free: What nobody uses now, as the device says: of main memory, all.
        total: What it has.
    """

    device: str
    description: str
    weights: int
    cache: int
    compute: int
    free: int
    total: int

    @property
    def used(self) -> int:
        """What model and context take together."""
        return self.weights + self.cache + self.compute


@dataclass(frozen=True)
class MemoryUse:
    """What a model and a context take, in bytes.

    Attributes:
        devices: One entry each, main memory first.
    """

    devices: tuple[DeviceMemory, ...]

    @property
    def weights(self) -> int:
        """Of the model, on all devices."""
        return sum(each.weights for each in self.devices)

    @property
    def cache(self) -> int:
        """What the context remembers of tokens, on all devices."""
        return sum(each.cache for each in self.devices)

    @property
    def compute(self) -> int:
        """Buffers of a decode, on all devices."""
        return sum(each.compute for each in self.devices)

    @property
    def used(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.compute


def memory_use(context: Context) -> MemoryUse:
    """Tell what a context and its model take.

    Raises:
        ClosedError: The context is closed.
    """
    return _read(lambda *out: context.call(bridge("bridge_memory_breakdown"), *out), LlamaError)


def estimate(model: Model, params: raw.llama_context_params) -> MemoryUse:
    """Tell what a context would take, with its model, without taking it.

    Args:
        model: Loaded with ``no_alloc``: it has the shapes of the weights alone.
        params: Of the context.

    Raises:
        ContextError: The parameters contradict each other or the model.
        InvalidArgumentError: A parameter is out of range.
    """
    check_params(params, model, with_weights=False)
    with collect_errors() as log:
        try:
            return _read(
                lambda *out: model.call(bridge("bridge_memory_estimate"), params, *out), LlamaError
            )
        except LlamaError as error:
            raise context_error(params.n_ctx, list(log)) from error


_one_at_a_time = threading.Lock()


def fit_layers(
    path: str, params: raw.llama_model_params, context: raw.llama_context_params
) -> tuple[Any, ...]:
    """Let as many layers be on the GPU as leave 1 GiB of it free.

    Args:
        path: The model.
        params: They are changed; the number of layers must be the engine's default.
        context: What it will have.

    Returns:
        What the parameters point to: it has to live as long as they do.

    Raises:
        OutOfMemoryError: No number of layers fits.
    """
    split = (ctypes.c_float * raw.llama_max_devices())()
    overrides = (raw.llama_model_tensor_buft_override * raw.llama_max_tensor_buft_overrides())()
    error = ctypes.c_char_p()
    with collect_errors() as log, _one_at_a_time:
        fits = bridge("bridge_fit_layers")(
            os.fsencode(path), ctypes.byref(params), ctypes.byref(context), _MARGIN, split,
            overrides, ctypes.byref(error),
        )  # fmt: skip
    why = f": {take_string(error)}" if error else ""
    if not fits:
        raise OutOfMemoryError(
            f"no number of layers on the GPU is found with which {path} fits{why}: give "
            "n_gpu_layers as a number, without tensor_split, or lower n_ctx or n_parallel",
            list(log),
        )
    return split, overrides


def _read(call: Callable[..., None], refused: type[LlamaError]) -> MemoryUse:
    answer, error = ctypes.c_char_p(), ctypes.c_char_p()
    call(ctypes.byref(answer), ctypes.byref(error))
    if error:
        raise refused(f"the memory cannot be measured: {take_string(error)}")
    devices: list[dict[str, Any]] = json.loads(take_string(answer))
    return MemoryUse(tuple(DeviceMemory(**device) for device in devices))
