"""Adapters: LoRA files and control vectors."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError, ModelLoadError
from ..gguf.flaws import check_flaws
from ..gguf.header import read_header, read_layout
from ..native.assertions import guarded
from ..native.backend import collect_errors, load_error
from ..validation import native_arguments as checks
from .base import Handle
from .model import Model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .context import Context


class LoraAdapter(Handle):
    """A LoRA adapter, loaded for one model. ``Context.set_adapters`` applies it.

    Args:
        model: The base model.
        path: A GGUF file of type ``adapter``.

    Raises:
        ModelLoadError: One of its subclasses says what is wrong with the file.
        ClosedError: The model is closed.
    """

    def __init__(self, model: Model, path: str | bytes | os.PathLike[Any]) -> None:
        checks.instance(model, Model, "model")
        encoded = checks.encoded_path(path)
        self.model = model
        self.path = os.fsdecode(encoded)
        # Contexts that apply it now: they must let go before it is freed.
        self.users: weakref.WeakSet[Context] = weakref.WeakSet()
        header = read_header(path)
        if header.file_type != "adapter":
            raise ModelLoadError(
                f"{self.path} is a {header.file_type or 'model'}, not a LoRA adapter: its "
                "metadata must have general.type = adapter"
            )
        check_flaws(header.flaws, self.path)
        pointer_of_model = model.acquire()
        try:
            with collect_errors() as log:
                pointer = guarded(raw.llama_adapter_lora_init)(pointer_of_model, encoded)
            if pointer is None:
                raise load_error("LoRA adapter", self.path, list(log))
            super().__init__(pointer, raw.llama_adapter_lora_free, parent=model)
        finally:
            model.release()

    @cached_property
    def invocation_tokens(self) -> list[int]:
        """The tokens that activate it (aLoRA), empty if it always counts."""
        count = self.call(raw.llama_adapter_get_alora_n_invocation_tokens)
        tokens = self.call(raw.llama_adapter_get_alora_invocation_tokens)
        return tokens[:count] if count else []

    def _release_native(self) -> None:
        # No context can begin to apply it now, because that takes a lease.
        for context in list(self.users):
            context.drop_adapter(self)
        super()._release_native()

    def _is_leased_by(self, thread: int) -> bool:
        return super()._is_leased_by(thread) or any(
            context._is_leased_by(thread) for context in list(self.users)
        )


class ControlVector:
    """A direction per layer, added to the hidden states.

    It is the method of representation engineering, https://arxiv.org/abs/2310.01405.

    Args:
        data: float32, shape (n, n_embd): the rows are for layers 1, 2, ... n. Layers that are
            to be left alone have zeros.
        first_layer: The first layer that it applies to, 1 by default.
        last_layer: The last one, included; n by default.

    Raises:
        InvalidArgumentError: The shape or the layer range cannot be.
    """

    def __init__(
        self, data: npt.ArrayLike, first_layer: int = 1, last_layer: int | None = None
    ) -> None:
        import numpy as np

        finite = checks.finite_floats(data, "values of a control vector")
        self.data: npt.NDArray[np.float32] = np.ascontiguousarray(finite)
        if self.data.ndim != 2 or not self.data.size:
            raise InvalidArgumentError(
                f"a control vector has shape (layers, n_embd), not {self.data.shape}"
            )
        last_layer = len(self.data) if last_layer is None else last_layer
        self.first_layer = checks.integer("first_layer", first_layer, 1, checks.LAYERS_MAX)
        self.last_layer = checks.integer("last_layer", last_layer, 1, checks.LAYERS_MAX)
        if not self.first_layer <= self.last_layer <= len(self.data):
            raise InvalidArgumentError(
                f"layers {self.first_layer} to {self.last_layer} are not among the "
                f"{len(self.data)} that the data has, from 1 on"
            )

    @classmethod
    def from_files(
        cls,
        scales: Mapping[str | os.PathLike[str], float],
        first_layer: int = 1,
        last_layer: int | None = None,
    ) -> ControlVector:
        """Add up the control vectors of GGUF files.

        Args:
            scales: What each is multiplied by, by its path.
            first_layer: See the class.
            last_layer: See the class.

        Raises:
            ModelLoadError: A file cannot be read, or holds no control vector.
            InvalidArgumentError: The vectors have different widths, or the layer range cannot be.
        """
        import numpy as np

        rows: dict[int, npt.NDArray[np.float32]] = {}
        width = 0
        weights = checks.finite_floats(list(scales.values()), "scales of control vectors")
        for path, scale in zip(scales, weights.tolist(), strict=True):
            for layer, direction in _directions(path).items():
                width = width or direction.size
                if direction.size != width:
                    raise InvalidArgumentError(
                        f"{os.fspath(path)!r} has a control vector of width {direction.size}, and "
                        f"there is one of {width}: those of one model are equally wide"
                    )
                rows[layer] = rows.get(layer, 0) + np.float32(scale) * direction
        if not rows:
            raise InvalidArgumentError("there are no control vectors: give at least one file")
        data = np.zeros((max(rows), width), np.float32)
        for layer, direction in rows.items():
            data[layer - 1] = direction
        return cls(data, first_layer, last_layer)

    def check_fits(self, model: Model) -> None:
        """Refuse a model of another width or with fewer layers.

        Raises:
            InvalidArgumentError: It does not fit.
        """
        layers, width = self.data.shape
        if width != model.n_embd or layers >= model.n_layer:
            raise InvalidArgumentError(
                f"a control vector of shape {self.data.shape} does not fit this model: it takes "
                f"at most {model.n_layer - 1} layers of width {model.n_embd}"
            )


def _directions(path: str | os.PathLike[str]) -> dict[int, npt.NDArray[np.float32]]:
    """Read the tensors ``direction.N``, by N."""
    import numpy as np

    _, layout = read_layout(path)
    directions = {}
    for tensor in layout.tensors:
        found = re.fullmatch(rb"direction\.([1-9]\d{0,3})", tensor.name)
        if found and (tensor.type_id != raw.GGML_TYPE_F32 or len(tensor.shape) != 1):
            raise ModelLoadError(
                f"{os.fspath(path)!r} is damaged: {tensor.name.decode()} must be one row of float32"
            )
        if found:
            offset = layout.data_start + tensor.offset
            directions[int(found[1])] = np.fromfile(
                path, "<f4", tensor.n_bytes // 4, offset=offset
            ).astype(np.float32)
    if not directions:
        raise ModelLoadError(
            f"{os.fspath(path)!r} is no control vector: it has no tensor direction.1 or the like"
        )
    return directions
