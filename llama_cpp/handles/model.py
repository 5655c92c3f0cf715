"""``Model``: the weights, the vocabulary and the metadata of a GGUF file."""

from __future__ import annotations

import ctypes
import os
import weakref
from functools import cached_property
from typing import Any

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError, ModelLoadError, QuantizeError
from ..gguf.flaws import check_flaws
from ..gguf.header import read_header
from ..gguf.kv_overrides import check_types, override_values, unread
from ..native.assertions import guarded
from ..native.backend import bridge, collect_errors, load_error, start_backend, take_string
from ..native.logs import collect_lines
from ..validation import native_arguments as checks
from .base import Handle
from .vocab import Vocab

# Those for which llama_model_saver_supports_arch in llama-model-saver.cpp says no.
_CANNOT_BE_SAVED = ("apertus", "bitnet", "gemma3n", "step35", "t5")


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
        overrides = override_values(self.params.kv_overrides) if self.params.kv_overrides else {}
        header = read_header(path)
        check_types(overrides, header)
        self.hyperparameters = {**header.metadata, **overrides}
        if not self.params.vocab_only:
            checks.model_metadata(self.hyperparameters, header.architecture)
            check_flaws(header.flaws, self.path)
        self.header = header
        start_backend()
        with collect_errors() as log, collect_lines() as lines:
            pointer = guarded(raw.llama_model_load_from_file)(encoded, self.params)
        if pointer is None:
            raise load_error("model", self.path, list(log))
        super().__init__(pointer, raw.llama_model_free)
        try:
            self.unread_overrides = unread(overrides, lines)
            """Keys of ``kv_overrides`` that mean nothing for this model."""
        except InvalidArgumentError:
            self.close()
            raise
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
        return self.call(_read_metadata)

    @cached_property
    def description(self) -> str:
        """A short text like ``llama 7B Q4_0``."""
        return self.call(_read_string, raw.llama_model_desc)

    @cached_property
    def n_vocab(self) -> int:
        """Tokens in the vocabulary: the width of a row of logits."""
        return self.vocab.n_tokens

    @cached_property
    def n_ctx_train(self) -> int:
        """The context length that the model was trained with, in tokens."""
        return self.call(raw.llama_model_n_ctx_train)

    @cached_property
    def n_embd(self) -> int:
        """The width of the hidden state."""
        return self.call(raw.llama_model_n_embd)

    @cached_property
    def n_embd_inp(self) -> int:
        """The width of an input embedding."""
        return self.call(raw.llama_model_n_embd_inp)

    @cached_property
    def n_embd_out(self) -> int:
        """The width of an output embedding."""
        return self.call(raw.llama_model_n_embd_out)

    @cached_property
    def n_cls_out(self) -> int:
        """Outputs of a classifier or reranker, 1 where the model has no such head."""
        return self.call(raw.llama_model_n_cls_out)

    @cached_property
    def labels(self) -> list[str]:
        """What the outputs of a classifier mean; their numbers where the file has no names."""
        named = [self.call(raw.llama_model_cls_label, index) for index in range(self.n_cls_out)]
        return [
            str(index) if name is None else name.decode("utf-8", "replace")
            for index, name in enumerate(named)
        ]

    def check_has_scores(self) -> None:
        """Refuse to take a part of a hidden state for scores.

        Raises:
            InvalidArgumentError: The model has no head that makes them.
        """
        if not self.header.has_scores:
            raise InvalidArgumentError(
                "this model has no scores to give: its file has no classification head. Load one "
                "for reranking or classification, or embed with another pooling_type"
            )

    @cached_property
    def rope_type(self) -> int:
        """How positions are encoded: ``LLAMA_ROPE_TYPE_*``."""
        return self.call(raw.llama_model_rope_type)

    @cached_property
    def n_layer(self) -> int:
        """Layers."""
        return self.call(raw.llama_model_n_layer)

    @cached_property
    def n_params(self) -> int:
        """Parameters."""
        return self.call(raw.llama_model_n_params)

    @cached_property
    def size(self) -> int:
        """Bytes of all tensors."""
        return self.call(raw.llama_model_size)

    @cached_property
    def has_encoder(self) -> bool:
        """Whether the model needs ``Context.encode``."""
        return self.call(raw.llama_model_has_encoder)

    @cached_property
    def has_decoder(self) -> bool:
        """Whether the model takes ``Context.decode``."""
        return self.call(raw.llama_model_has_decoder)

    @cached_property
    def is_recurrent(self) -> bool:
        """Whether the memory is a state that cannot be rewound (Mamba, RWKV)."""
        return self.call(raw.llama_model_is_recurrent)

    @cached_property
    def is_hybrid(self) -> bool:
        """Whether the memory is part recurrent, part attention (Jamba, Granite)."""
        return self.call(raw.llama_model_is_hybrid)

    def chat_template(self, name: str | None = None) -> str | None:
        """The chat template of the file, or the named one; None if there is none."""
        encoded = None if name is None else checks.c_string(name, "template name")
        template = self.call(raw.llama_model_chat_template, encoded)
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
        kind = self.header.architecture
        if kind in _CANNOT_BE_SAVED:
            raise QuantizeError(f"the engine cannot write models of the kind {kind!r}")
        if self.params.vocab_only or self.params.no_alloc:
            raise QuantizeError("only a vocabulary was loaded: there are no weights to save")
        # The engine maps the file that it loaded from: writing there would change the weights.
        if os.path.exists(encoded) and os.path.samefile(encoded, self.path):
            raise QuantizeError(f"{self.path} is the file the model was loaded from")
        checks.writable(encoded, QuantizeError)
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
        # To the engine a full disk is no error, and neither is a tensor that it does not know.
        try:
            missing = self.header.tensor_count - read_header(encoded).tensor_count
        except ModelLoadError as damage:
            raise QuantizeError(f"the model could not be written completely: {damage}") from damage
        if missing > 0:
            raise QuantizeError(
                f"{os.fsdecode(encoded)} is unusable: the engine left out {missing} tensors, "
                f"because it cannot write models of the kind {kind!r}"
            )


def _check_params(params: raw.llama_model_params) -> None:
    checks.instance(params, raw.llama_model_params, "params")
    checks.in_range("split_mode", params.split_mode, 0, 3, "LLAMA_SPLIT_MODE_*")
    checks.in_range("load_mode", params.load_mode, -1, 4, "LLAMA_LOAD_MODE_*")
    checks.in_range("lazy_mode", params.lazy_mode, 0, 2, "LLAMA_LAZY_MODE_*")
    checks.in_range("main_gpu", params.main_gpu, -1, checks.INT32_MAX)
    if params.no_alloc and params.load_mode != raw.LLAMA_LOAD_MODE_NONE:
        raise InvalidArgumentError("no_alloc goes with load_mode = LLAMA_LOAD_MODE_NONE only")


def _read_metadata(pointer: Any) -> dict[str, str]:
    return {
        _read_string(pointer, raw.llama_model_meta_key_by_index, index): _read_string(
            pointer, raw.llama_model_meta_val_str_by_index, index
        )
        for index in range(raw.llama_model_meta_count(pointer))
    }


def _read_string(pointer: Any, function: Any, *arguments: int) -> str:
    """A string that the engine copies into a buffer, of whatever length it turns out to be."""
    length = function(pointer, *arguments, None, 0)
    if length < 0:
        return ""
    buffer = ctypes.create_string_buffer(length + 1)
    function(pointer, *arguments, buffer, length + 1)
    return buffer.value.decode("utf-8", "replace")
