"""The short way from images and sounds to what a text model says."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from handles_kit import open_context
from media_bytes import Pixels, Samples

from llama_cpp import mtmd_cpp as raw
from llama_cpp.handles.model import Model

PROMPT = "the<__media__>of"

Logits = npt.NDArray[np.float32]


class Projector:
    """A projector with its text model, and all that it makes; closing it frees them.

    Args:
        path: The mmproj file.
        model: The text model, which must outlive it.
    """

    def __init__(self, path: Path, model: Model) -> None:
        self.model = model
        self._owned = ExitStack()
        params = raw.mtmd_context_params_default()
        params.use_gpu = params.print_timings = False
        params.n_threads = 1
        loaded = raw.mtmd_init_from_file(bytes(path), model.pointer, params)
        self.pointer = self._own(loaded, raw.mtmd_free)

    def __enter__(self) -> Projector:
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    def _own(self, pointer: Any, free: Callable[[Any], None]) -> Any:
        assert pointer is not None
        self._owned.callback(free, pointer)
        return pointer

    def image(self, rgb: Pixels) -> Any:
        data = rgb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        made = raw.mtmd_bitmap_init(rgb.shape[1], rgb.shape[0], data)
        return self._own(made, raw.mtmd_bitmap_free)

    def sound(self, samples: Samples) -> Any:
        data = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        made = raw.mtmd_bitmap_init_from_audio(samples.size, data)
        return self._own(made, raw.mtmd_bitmap_free)

    def read(self, content: bytes) -> Any:
        """The bitmap of an image or audio file."""
        buffer = (ctypes.c_uint8 * len(content)).from_buffer_copy(content)
        made = raw.mtmd_helper_bitmap_init_from_buf(self.pointer, buffer, len(buffer))
        return self._own(made, raw.mtmd_bitmap_free)

    def tokenize(self, bitmaps: Sequence[Any], text: str = PROMPT) -> Any:
        """The chunks of a text with a marker for each bitmap."""
        chunks = self._own(raw.mtmd_input_chunks_init(), raw.mtmd_input_chunks_free)
        encoded = text.encode()
        prompt = ctypes.byref(raw.mtmd_input_text(encoded, len(encoded), True, False))
        array = (ctypes.c_void_p * len(bitmaps))(*bitmaps)
        assert raw.mtmd_tokenize(self.pointer, chunks, prompt, array, len(bitmaps)) == 0
        return chunks

    def evaluate(self, chunks: Any, n_batch: int = 256) -> Logits:
        """The logits after the chunks, which must take the positions that they say."""
        n_past = ctypes.c_int32()
        with open_context(self.model) as context:
            failed = raw.mtmd_helper_eval_chunks(
                self.pointer, context.pointer, chunks, 0, 0, n_batch, True, ctypes.byref(n_past)
            )
            assert failed == 0
            assert n_past.value == raw.mtmd_helper_get_n_pos(chunks)
            assert context.memory.seq_pos_max(0) == n_past.value - 1
            found = context.logits()
        assert np.isfinite(found).all()
        return found

    def answer(self, *bitmaps: Any, text: str = PROMPT) -> Logits:
        return self.evaluate(self.tokenize(bitmaps, text))


def split(chunks: Any) -> list[Any]:
    """Each chunk; they belong to the whole."""
    count = raw.mtmd_input_chunks_size(chunks)
    return [raw.mtmd_input_chunks_get(chunks, index) for index in range(count)]


def content(bitmap: Any) -> bytes:
    return bytes(raw.mtmd_bitmap_get_data(bitmap)[: raw.mtmd_bitmap_get_n_bytes(bitmap)])
