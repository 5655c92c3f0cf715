"""Images and sounds made on the spot, and the short way from them to what a text model says."""

from __future__ import annotations

import ctypes
import io
import struct
import wave
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from handles_kit import open_context

from llama_cpp import mtmd_cpp as raw
from llama_cpp.handles.model import Model

RATE = 16000
"""Samples per second that Whisper's encoder takes."""

PROMPT = "the<__media__>of"

Pixels = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]


def noise(seed: int, height: int = 24, width: int = 40) -> Pixels:
    """An image, as an array of shape (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tone(hertz: float, seconds: float = 0.5, rate: int = RATE) -> Samples:
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def png(rgb: Pixels) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    height, width, _ = rgb.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in rgb)  # each with filter 0, which is none
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def wav(samples: npt.NDArray[np.int16], rate: int = RATE) -> bytes:
    """From an array of shape (frames, channels)."""
    content = io.BytesIO()
    with wave.open(content, "wb") as writer:
        writer.setparams((samples.shape[1], 2, rate, 0, "NONE", "not compressed"))
        writer.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


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
