"""``Model``: the weights, the vocabulary and the metadata of a GGUF file."""

from __future__ import annotations

import ctypes
import os
import weakref
from functools import cached_property
from typing import Any

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError, QuantizeError
from . import checks
from .backend import bridge, collect_errors, load_error, start_backend, take_string
from .base import Handle
from .gguf_header import read_header
from .vocab import Vocab


class Model(Handle):
    """A loaded model. Several contexts may share it, from several threads.

    Args:
        path: A GGUF file; of a split model, its first file.
        params: ``llama_model_params``; ``Model.default_params()`` by default.

    Raises:
        ModelLoadError: One of its subclasses says what is wrong with the file.
        InvalidArgumentError: A parameter is out of range.
        TextError: The path cannot be passed to C.
    """

    def __init__(
        self,
        path: str | bytes | os.PathLike[Any],
        params: raw.llama_model_params | None = None,
    ) -> None:
        encoded = checks.encoded_path(path)
        self.path = os.fsdecode(encoded)
        self.params = self.default_params() if params is None else params
        _check_params(self.params)
        read_header(path)
        start_backend()
        with collect_errors() as log:
            pointer = raw.llama_model_load_from_file(encoded, self.params)
        if pointer is None:
            raise load_error("model", self.path, list(log))
        super().__init__(pointer, raw.llama_model_free)
        self._vocab: weakref.ref[Vocab] | None = None

    @staticmethod
    def default_params() -> raw.llama_model_params:
        """The engine's defaults, to be changed and passed to the constructor."""
        return raw.llama_model_default_params()

    @property
    def vocab(self) -> Vocab:
        """The vocabulary; it keeps the model alive."""
        vocab = self._vocab() if self._vocab is not None else None
        if vocab is None or vocab.closed:
            vocab = Vocab(self)
            # Weakly: the vocabulary holds the model, and a cycle would delay freeing the weights.
            self._vocab = weakref.ref(vocab)
        return vocab

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The scalar and string metadata of the file, each value as text."""
        pointer = self.pointer
        metadata = {}
        for index in range(raw.llama_model_meta_count(pointer)):
            key = _read_string(raw.llama_model_meta_key_by_index, pointer, index)
            value = _read_string(raw.llama_model_meta_val_str_by_index, pointer, index)
            metadata[key] = value
        return metadata

    @cached_property
    def description(self) -> str:
        """A short text like ``llama 7B Q4_0``."""
        return _read_string(raw.llama_model_desc, self.pointer)

    @cached_property
    def n_vocab(self) -> int:
        """Tokens in the vocabulary: the width of a row of logits."""
        return self.vocab.n_tokens

    @cached_property
    def n_ctx_train(self) -> int:
        """The context length that the model was trained with, in tokens."""
        return raw.llama_model_n_ctx_train(self.pointer)

    @cached_property
    def n_embd(self) -> int:
        """The width of the hidden state."""
        return raw.llama_model_n_embd(self.pointer)

    @cached_property
    def n_embd_inp(self) -> int:
        """The width of an input embedding."""
        return raw.llama_model_n_embd_inp(self.pointer)

    @cached_property
    def n_embd_out(self) -> int:
        """The width of an output embedding."""
        return raw.llama_model_n_embd_out(self.pointer)

    @cached_property
    def n_cls_out(self) -> int:
        """Outputs of a classifier or reranker, 1 where the model has no such head."""
        return raw.llama_model_n_cls_out(self.pointer)

    @cached_property
    def n_layer(self) -> int:
        """Layers."""
        return raw.llama_model_n_layer(self.pointer)

    @cached_property
    def n_params(self) -> int:
        """Parameters."""
        return raw.llama_model_n_params(self.pointer)

    @cached_property
    def size(self) -> int:
        """Bytes of all tensors."""
        return raw.llama_model_size(self.pointer)

    @cached_property
    def has_encoder(self) -> bool:
        """Whether the model needs ``Context.encode``."""
        return raw.llama_model_has_encoder(self.pointer)

    @cached_property
    def has_decoder(self) -> bool:
        """Whether the model takes ``Context.decode``."""
        return raw.llama_model_has_decoder(self.pointer)

    @cached_property
    def is_recurrent(self) -> bool:
        """Whether the memory is a state that cannot be rewound (Mamba, RWKV)."""
        return raw.llama_model_is_recurrent(self.pointer)

    @cached_property
    def is_hybrid(self) -> bool:
        """Whether the memory is part recurrent, part attention (Jamba, Granite)."""
        return raw.llama_model_is_hybrid(self.pointer)

    def chat_template(self, name: str | None = None) -> str | None:
        """The chat template of the file, or the named one; None if there is none."""
        encoded = None if name is None else checks.c_string(name, "template name")
        template = raw.llama_model_chat_template(self.pointer, encoded)
        return None if template is None else template.decode("utf-8", "replace")

    def save(self, path: str | bytes | os.PathLike[Any]) -> None:
        """Write the model to a GGUF file.

        Args:
            path: The file; an existing one is replaced.

        Raises:
            QuantizeError: The weights may have been repacked for this processor when they were
                loaded, which cannot be undone; or the file cannot be written.
        """
        encoded = checks.encoded_path(path)
        if self.params.use_extra_bufts:
            raise QuantizeError(
                "a model whose weights may be repacked cannot be saved: load it with "
                "params.use_extra_bufts = False"
            )
        if self.params.vocab_only or self.params.no_alloc:
            raise QuantizeError("only a vocabulary was loaded: there are no weights to save")
        self._check_writable(encoded)
        pointer = self.acquire()
        try:
            error = ctypes.c_char_p()
            with collect_errors() as log:
                bridge("bridge_model_save")(pointer, encoded, ctypes.byref(error))
        finally:
            self.release()
        if error:
            raise QuantizeError(
                f"{os.fsdecode(encoded)} cannot be written: {take_string(error)}", list(log)
            )

    def _check_writable(self, path: bytes) -> None:
        # The engine maps the file that it loaded from: writing there would change the weights.
        if os.path.exists(path) and os.path.samefile(path, self.path):
            raise QuantizeError(f"{self.path} is the file the model was loaded from")
        try:
            with open(path, "ab"):
                pass
        except OSError as error:
            raise QuantizeError(f"{os.fsdecode(path)} cannot be written: {error}") from error


def _check_params(params: raw.llama_model_params) -> None:
    checks.in_range("split_mode", params.split_mode, 0, 3, "LLAMA_SPLIT_MODE_*")
    checks.in_range("load_mode", params.load_mode, -1, 4, "LLAMA_LOAD_MODE_*")
    checks.in_range("lazy_mode", params.lazy_mode, 0, 2, "LLAMA_LAZY_MODE_*")
    checks.in_range("main_gpu", params.main_gpu, -1, checks.INT32_MAX)
    if params.kv_overrides:
        _check_overrides(params.kv_overrides)


def _check_overrides(overrides: Any) -> None:
    # The array ends at an empty key; the engine would read on past a missing one.
    for index in range(4096):
        override = overrides[index]
        if not override.key:
            return
        checks.in_range(f"kv_overrides[{index}].tag", override.tag, 0, 3, "LLAMA_KV_OVERRIDE_*")
    raise InvalidArgumentError("kv_overrides has no end: its last entry must have an empty key")


def _read_string(function: Any, pointer: Any, *arguments: int) -> str:
    """A string that the engine copies into a buffer, of whatever length it turns out to be."""
    length = function(pointer, *arguments, None, 0)
    if length < 0:
        return ""
    buffer = ctypes.create_string_buffer(length + 1)
    function(pointer, *arguments, buffer, length + 1)
    return buffer.value.decode("utf-8", "replace")
