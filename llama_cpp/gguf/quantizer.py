"""The engine's quantization: what it plans to do, and doing it on a thread that can be stopped.

The engine reports the plan and how far it is in its log only. The first text about a tensor is
``[   3/  20] name - [ 256, 684, 1, 1], type = f32, ``. In a dry run
``size = 1 MiB -> 1 MiB (q8_0)`` follows, without the arrow and the type if the tensor stays as it
is.
"""

from __future__ import annotations

import ctypes
import math
import os
import queue
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import llama_cpp as raw
from ..errors import ModelLoadError, QuantizeError
from ..native.backend import bridge, collect_errors, load_error, start_backend, take_string
from ..native.generated.bridge import bridge_log_listener
from .layout import TENSOR_TYPES

__all__ = ["TYPE_IDS", "Plan", "PlannedTensor", "default_params", "make_plan", "run"]

TYPE_IDS = {tensor_type.name: type_id for type_id, tensor_type in TENSOR_TYPES.items()}

_TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\] (.*?) *- \[([\d, ]+)\], type = *(\w+), ", re.DOTALL)
_NEW_TYPE = re.compile(r"-> .*\((\w+)\)\s*")
_NEEDS_IMATRIX = "will require an imatrix"
_WRITE_FAILED = re.compile(r"ios_base|basic_ios|iostream")
_WAIT_S = 0.2  # on Windows, Ctrl-C is only seen between two waits

_one_at_a_time = threading.Lock()


class PlannedTensor(NamedTuple):
    """What becomes of a tensor.

    Attributes:
        name: Its name in the new file.
        shape: The lengths of its four dimensions, that of a row first.
        old: The name of its type.
        new: The name of its new type; the same if the tensor is only copied.
    """

    name: str
    shape: tuple[int, ...]
    old: str
    new: str

    @property
    def n_bytes(self) -> int:
        """Its size in the new file."""
        _, block_elements, block_bytes = TENSOR_TYPES[TYPE_IDS[self.new]]
        return math.prod(self.shape) // block_elements * block_bytes


class Plan(NamedTuple):
    """What the engine will do.

    Attributes:
        tensors: The tensors that will be written.
        needs_imatrix: Whether it will refuse without an importance matrix.
    """

    tensors: list[PlannedTensor]
    needs_imatrix: bool


def default_params() -> raw.llama_model_quantize_params:
    """The engine's defaults."""
    return raw.llama_model_quantize_default_params()


def make_plan(source: bytes, params: raw.llama_model_quantize_params) -> Plan:
    """Have the engine say what it would do.

    Args:
        source: The model.
        params: What it would do that with.

    Raises:
        ModelLoadError: The engine cannot load the model.
        QuantizeError: It cannot do that with it.
    """
    texts: list[str] = []
    params.dry_run = True
    try:
        log = _call(source, b"", params, texts.append)
    finally:
        params.dry_run = False
    if log is not None:
        error = load_error("model", os.fsdecode(source), log)
        if type(error) is not ModelLoadError:
            raise error
        raise QuantizeError(
            f"{os.fsdecode(source)!r} cannot be quantized like that: see the native log", log
        )
    tensors: list[PlannedTensor] = []
    for index, text in enumerate(texts):
        if match := _TENSOR.fullmatch(text):
            name, shape, old = match.groups()[2:]
            renewed = _NEW_TYPE.search("".join(texts[index + 1 : index + 2]))
            new = renewed[1] if renewed else old
            lengths = tuple(map(int, shape.split(",")))
            tensors.append(PlannedTensor(name, lengths, old.upper(), new.upper()))
    known = all(tensor.old in TYPE_IDS and tensor.new in TYPE_IDS for tensor in tensors)
    if not tensors or not known:
        raise QuantizeError(
            f"{os.fsdecode(source)!r} cannot be quantized: the engine found no tensors, or names "
            "of tensors that cannot be read"
        )
    return Plan(tensors, any(_NEEDS_IMATRIX in text for text in texts))


def run(
    source: bytes,
    target: bytes,
    params: raw.llama_model_quantize_params,
    progress: Callable[[float], bool | None] | None,
) -> None:
    """Quantize. Whatever is raised meanwhile, Ctrl-C too, stops that at the next tensor.

    Args:
        source: The model.
        target: The file to write; with ``params.keep_split``, what the names of the files begin
            with.
        params: The options. What they point to must live until this returns.
        progress: Is told the fraction that is done, on this thread, and returns False to stop.

    Raises:
        QuantizeError: The engine failed, or was told to stop.
    """

    def hear(text: str) -> None:
        match = _TENSOR.fullmatch(text)
        if match and progress is not None:
            _notify(progress, (int(match[1]) - 1) / int(match[2]))

    log = _call(source, target, params, hear)
    if log is not None:
        if _WRITE_FAILED.search("\n".join(log)):
            raise QuantizeError(
                "the file cannot be written: the disk is full, or files may not be that large", log
            )
        raise QuantizeError(f"{os.fsdecode(source)!r} cannot be quantized: see the native log", log)
    if progress is not None:
        _notify(progress, 1.0)


def _notify(progress: Callable[[float], bool | None], fraction: float) -> None:
    if progress(fraction) is False:
        raise QuantizeError("quantizing was cancelled by the progress callback")


def _call(
    source: bytes,
    target: bytes,
    params: raw.llama_model_quantize_params,
    hear: Callable[[str], Any],
) -> Sequence[str] | None:
    """Return None if all went well, else what the engine logged as errors."""
    start_backend()
    texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stop = threading.Event()
    outcome: list[Sequence[str] | BaseException | None] = []

    @bridge_log_listener
    def listen(text: bytes | None, _: int | None) -> bool:
        texts.put((text or b"").decode("utf-8", "replace"))
        return not stop.is_set()

    def work() -> None:
        try:
            error = ctypes.c_char_p()
            with collect_errors() as log:
                code = bridge("bridge_quantize")(
                    source, target, ctypes.byref(params), listen, None, ctypes.byref(error)
                )
            reason = [take_string(error)] if error else []
            outcome.append([*log, *reason] if code else None)
        except BaseException as error:  # raised on the other thread
            outcome.append(error)
        finally:
            texts.put(None)

    # A signal is only handled once the main thread is out of native code.
    with _one_at_a_time:
        thread = threading.Thread(target=work, name="llama_cpp.quantize")
        thread.start()
        try:
            while (text := _next(texts)) is not None:
                hear(text)
        finally:
            stop.set()
            thread.join()
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    return result


def _next(texts: queue.SimpleQueue[str | None]) -> str | None:
    while True:
        try:
            return texts.get(timeout=_WAIT_S)
        except queue.Empty:
            continue
