"""``ModelAdapters``: LoRA adapters of a model by name, and its control vector."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeAlias

from ..cache.fingerprint import Fingerprints, fingerprint
from ..engine import Engine
from ..engine.adapter_spans import AdapterSet
from ..errors import BusyError, InvalidArgumentError
from ..handles import ControlVector, LoraAdapter
from ..validation.native_arguments import finite_floats

Path: TypeAlias = str | os.PathLike[str]

DEFAULT = "default"
"""The name of the adapter that ``lora_path`` loads."""


def default_adapters(loaded: Mapping[str, LoraAdapter], scale: float) -> AdapterSet:
    """What calls use that say nothing: the adapter that ``lora_path`` loaded, if it did.

    Raises:
        InvalidArgumentError: The scale is no number.
    """
    number = float(finite_floats([scale], "scales")[0])
    return tuple((adapter, number) for adapter in loaded.values() if number)


class ModelAdapters:
    """What changes the weights of a model, for calls or for all of them.

    Args:
        engine: Decodes with them.
        fingerprints: Tell apart the states that were computed with different ones.
        loaded: Those that are there from the start, by name.
    """

    def __init__(
        self, engine: Engine, fingerprints: Fingerprints, loaded: Mapping[str, LoraAdapter]
    ) -> None:
        self._engine = engine
        self._fingerprints = fingerprints
        self._loaded = dict(loaded)

    def load(self, name: str, path: Path) -> None:
        """Load a LoRA adapter; see ``Llama.load_lora``."""
        self._engine.check_open()
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(f"name={name!r} must be a text, for lora={{name: scale}}")
        if name in self._loaded:
            raise InvalidArgumentError(
                f"there is an adapter {name!r} already: unload_lora({name!r}) first, or take "
                "another name"
            )
        self._loaded[name] = LoraAdapter(self._engine.context.model, path)

    def unload(self, name: str) -> None:
        """Free a LoRA adapter; see ``Llama.unload_lora``."""
        self._adapter(name)
        if any(adapter is self._loaded[name] for adapter, _ in self._engine.adapters.default):
            raise InvalidArgumentError(
                f"the adapter {name!r} came with lora_path, and calls that say nothing use it: "
                "create the model without, and load it by load_lora"
            )
        self._loaded.pop(name).close()

    def set_control_vector(
        self,
        vectors: Path | Mapping[Path, float] | None,
        *,
        first_layer: int = 1,
        last_layer: int | None = None,
    ) -> None:
        """Add control vectors to the hidden states; see ``Llama.set_control_vector``."""
        self._engine.check_open()
        vector, digest = None, b""
        if vectors is not None:
            scales = vectors if isinstance(vectors, Mapping) else {vectors: 1.0}
            vector = ControlVector.from_files(scales, first_layer, last_layer)
            vector.check_fits(self._engine.context.model)
            paths = [os.fspath(path) for path in scales]
            digest = fingerprint(paths, [*scales.values(), first_layer, last_layer])
        with self._engine.exclusive():
            if len(self._engine):
                raise BusyError(
                    "texts are being generated: exhaust or close their iterators before the "
                    "control vector changes"
                )
            self._engine.context.set_control_vector(vector)
            for slot in self._engine.slots:
                self._engine.sequences.clear(slot)
                slot.tokens = []
            self._fingerprints.control_vector = digest

    def named(self, lora: Mapping[str, float] | None) -> AdapterSet | None:
        """The adapters that a call asks for, by name with their scales; None if it does not say.

        Raises:
            InvalidArgumentError: There is none of a name, or a scale is no number.
        """
        if lora is None:
            return None
        if not isinstance(lora, Mapping):
            raise InvalidArgumentError(f"lora={lora!r} must be a dict of scales by name")
        scales = finite_floats([lora[name] for name in sorted(lora)], "scales")
        pairs = zip(sorted(lora), scales.tolist(), strict=True)
        return tuple((self._adapter(name), scale) for name, scale in pairs if scale)

    def _adapter(self, name: str) -> LoraAdapter:
        if name not in self._loaded:
            known = ", ".join(map(repr, sorted(self._loaded))) or "none"
            raise InvalidArgumentError(
                f"there is no adapter {name!r}, loaded are {known}: load_lora(name, path) loads one"
            )
        return self._loaded[name]
