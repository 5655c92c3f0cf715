"""``MediaProjector``: images and sounds, as embeddings that a model reads like tokens."""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import llama_cpp as llama
from .. import mtmd_cpp as raw
from ..errors import DecodeError, InvalidArgumentError, MediaError, ModelLoadError
from ..gguf.flaws import check_flaws
from ..gguf.header import GGUFHeader, read_header
from ..native.assertions import guarded
from ..native.backend import collect_errors, load_error, start_backend
from ..native.threads import usable_cores
from ..validation import native_arguments as checks
from .base import ExclusiveHandle, Handle
from .deep_stack import longest_run, with_stack_for
from .media_chunk import MediaChunk, MediaChunks
from .media_files import SECONDS_MAX, Kind, checked_media
from .model import Model
from .threadpool import shared_threads

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MARKER = "<__media__>"
"""Stands for an image or a sound in a text."""

_SECONDS_MIN = 0.1
# Its encoder has so many positions, and aborts beyond them.
_SECONDS_OF = {"lfm2a": 300}
# Kinds of projectors with llava's graph.
_LLAVA = ("mlp", "mlp_norm", "ldp", "ldpv2", "adapter")
# Where ffmpeg would be looked for; it must not be found, for it would get whatever comes in.
_NOWHERE = os.devnull.encode()


class MediaProjector(ExclusiveHandle):
    """An mmproj file, loaded for a model. One thread at a time uses it; others wait.

    Args:
        model: The model; it stays alive as long as the projector.
        path: A GGUF file of architecture ``clip``.
        n_threads: Threads for encoding; None takes the cores this process may use.
        use_gpu: Whether to encode on the GPU, where there is one.
        image_min_tokens: For models that take images of any size, how many tokens an image gives at
            least; -1 for the file's.
        image_max_tokens: And at most.

    Raises:
        ModelLoadError: One of its subclasses says what is wrong with the file.
        InvalidArgumentError: The model cannot read embeddings, or a number is out of range.
        ClosedError: The model is closed.
    """

    def __init__(
        self,
        model: Model,
        path: str | bytes | os.PathLike[Any],
        *,
        n_threads: int | None = None,
        use_gpu: bool = True,
        image_min_tokens: int = -1,
        image_max_tokens: int = -1,
    ) -> None:
        checks.instance(model, Model, "model")
        encoded = checks.encoded_path(path)
        self.model = model
        self.path = os.fsdecode(encoded)
        _check_model(model)
        params = raw.mtmd_context_params_default()
        params.print_timings = False
        params.use_gpu = bool(use_gpu)
        params.n_threads = checks.integer(
            "n_threads", usable_cores() if n_threads is None else n_threads, 1,
            llama.GGML_MAX_N_THREADS,
        )  # fmt: skip
        for name, count in (("min", image_min_tokens), ("max", image_max_tokens)):
            name = f"image_{name}_tokens"
            setattr(params, name, checks.integer(name, count, -1, 1 << 16) or -1)
        if 0 < params.image_max_tokens < params.image_min_tokens:
            raise InvalidArgumentError(
                f"image_min_tokens={image_min_tokens} is more than {image_max_tokens=}"
            )
        header = read_header(path)
        _check_header(header, self.path)
        check_flaws(header.flaws, self.path)
        start_backend()
        model_pointer = model.acquire()
        try:
            with collect_errors() as log:
                pointer = guarded(raw.mtmd_init_from_file)(encoded, model_pointer, params)
            if pointer is None:
                raise load_error("projector", self.path, list(log))
            super().__init__(pointer, raw.mtmd_free, parent=model)
        finally:
            model.release()
        self.sees: bool = raw.mtmd_support_vision(pointer)
        self.hears: bool = raw.mtmd_support_audio(pointer)
        self.sample_rate: int = raw.mtmd_get_audio_sample_rate(pointer)
        kinds = [header.metadata.get(f"clip.{each}projector_type") for each in ("", "audio.")]
        self._seconds_max = min(_SECONDS_OF.get(str(kind), SECONDS_MAX) for kind in kinds)
        stat = os.stat(encoded)
        origin = (self.path, stat.st_size, stat.st_mtime_ns, image_min_tokens, image_max_tokens)
        self.origin = repr(origin)
        """Tells embeddings of this projector from those of another."""

    def read(self, data: bytes) -> Bitmap:
        """Decode an image or audio file.

        Args:
            data: PNG, JPEG, GIF (its first image), BMP, WAV, MP3 or FLAC.

        Raises:
            MediaError: It is something else, damaged, too large, too long or too short, or of a
                kind that this projector does not take.
            ClosedError: The projector is closed.
        """
        checks.instance(data, bytes, "image or audio file")
        kind, content = checked_media(data)
        if not (self.sees if kind == "image" else self.hears):
            takes = "images" if self.sees else "sounds"
            raise MediaError(f"{self.path} takes {takes} only, and this is an {kind} file")
        options = raw.mtmd_helper_init_opt_default()
        options.video_params.ffmpeg_bin_dir = _NOWHERE
        buffer = ctypes.cast(ctypes.c_char_p(content), ctypes.POINTER(ctypes.c_uint8))
        pointer = self.acquire()
        try:
            with collect_errors(are_told=True) as log:
                bitmap = self.guarded(
                    raw.mtmd_helper_bitmap_init_from_buf,
                    pointer,
                    buffer,
                    len(content),
                    False,
                    options,
                )
            if bitmap is None:
                raise MediaError(f"the {kind} file is damaged: it cannot be decoded", list(log))
            result = Bitmap(self, bitmap, kind, hashlib.sha256(data).hexdigest())
        finally:
            self.release()
        if kind == "audio":
            self._check_length(result.width / self.sample_rate)
        return result

    def tokenize(self, parts: Sequence[str | Bitmap]) -> list[list[int] | MediaChunk]:
        """Make tokens and chunks of texts and what stands between them.

        The model's own tokens around an image or a sound are added. BOS and EOS are not.

        Args:
            parts: Texts, in which the names of special tokens stand for those, and bitmaps.

        Raises:
            MediaError: An image or a sound cannot be used.
            TextError: A text is not Unicode or too long.
            InvalidArgumentError: A bitmap is of another projector.
            ClosedError: The projector or a bitmap is closed.
        """
        wanted = [part for part in parts if not isinstance(part, str) or part]
        texts = [checks.encoded_text(part) for part in wanted if isinstance(part, str)]
        longest = max(texts, key=longest_run, default=b"")
        chunks = MediaChunks(self)
        with_stack_for(longest, lambda: self._fill(chunks, wanted))
        return chunks.split()

    def _fill(self, chunks: MediaChunks, parts: Sequence[str | Bitmap]) -> None:
        kept: list[Any] = []
        bitmaps: list[Bitmap] = []
        array = (raw.mtmd_input_part_p * len(parts))()
        pointer = self.acquire()
        try:
            for index, part in enumerate(parts):
                entry = raw.mtmd_input_part()
                if isinstance(part, str):
                    encoded = part.encode()
                    text = raw.mtmd_input_text(encoded, len(encoded), False, True)
                    entry.text = ctypes.pointer(text)
                    kept.append(text)
                else:
                    entry.bitmap = self._lease(part)
                    bitmaps.append(part)
                kept.append(entry)
                array[index] = ctypes.pointer(entry)
            with collect_errors() as log:
                code = self.guarded(
                    raw.mtmd_tokenize_from_parts, pointer, chunks.pointer, array, len(parts), False
                )
        finally:
            for bitmap in bitmaps:
                bitmap.release()
            self.release()
        if code:
            raise MediaError("an image or a sound cannot be used: see the native log", list(log))

    def _lease(self, bitmap: Bitmap) -> Any:
        checks.instance(bitmap, Bitmap, "part")
        if bitmap.projector is not self:
            raise InvalidArgumentError("a bitmap works with the projector that read it only")
        return bitmap.acquire()

    def encode(self, chunk: MediaChunk) -> npt.NDArray[np.float32]:
        """Compute the embeddings of a chunk: float32, shape (n_tokens, n_embd_inp).

        Raises:
            DecodeError: The computation failed.
            ClosedError: The projector is closed.
        """
        import numpy as np

        shape = (chunk.n_tokens, self.model.n_embd_inp)
        pointer = self.acquire()
        try:
            with collect_errors() as log, shared_threads() as are_shared:
                if are_shared:
                    code = self.guarded(raw.mtmd_encode_chunk, pointer, chunk.pointer)
                else:  # threads of its own would go on with a graph that an exception leaves
                    code = raw.mtmd_encode_chunk(pointer, chunk.pointer)
            if code:
                raise DecodeError("encoding failed: see the native log", list(log), code)
            # The next chunk is encoded into the same memory.
            rows: npt.NDArray[np.float32] = np.ctypeslib.as_array(
                raw.mtmd_get_output_embd(pointer), shape
            ).copy()
        finally:
            self.release()
        if not np.isfinite(rows).all():
            raise DecodeError(f"{self.path} makes embeddings of this that are no numbers")
        return rows

    def _check_length(self, seconds: float) -> None:
        if not _SECONDS_MIN <= seconds <= self._seconds_max:
            raise MediaError(
                f"the sound lasts {seconds:.3f} seconds: {self.path} takes {_SECONDS_MIN} to "
                f"{self._seconds_max}"
            )


class Bitmap(Handle):
    """An image or a sound as ``MediaProjector.read`` has decoded it.

    Attributes:
        kind: "image" or "audio".
        id: The SHA-256 of the file.
        width: In pixels, or samples.
        height: In pixels; 1 for a sound.
    """

    def __init__(self, projector: MediaProjector, pointer: Any, kind: Kind, name: str) -> None:
        super().__init__(pointer, raw.mtmd_bitmap_free, parent=projector)
        self.projector = projector
        self.kind = kind
        self.id = name
        self.width: int = raw.mtmd_bitmap_get_nx(pointer)
        self.height: int = raw.mtmd_bitmap_get_ny(pointer)
        raw.mtmd_bitmap_set_id(pointer, name.encode())


def interleave(text: str, bitmaps: Sequence[Bitmap], marker: str = MARKER) -> list[str | Bitmap]:
    """Put bitmaps in the places of markers, for ``MediaProjector.tokenize``.

    Raises:
        MediaError: There are more or fewer markers than bitmaps.
    """
    texts = text.split(marker)
    if len(texts) != len(bitmaps) + 1:
        raise MediaError(
            f"the text has {len(texts) - 1} places for images and sounds ({marker}), and there are "
            f"{len(bitmaps)} of them"
        )
    parts: list[str | Bitmap] = [texts[0]]
    for bitmap, after in zip(bitmaps, texts[1:], strict=True):
        parts += [bitmap, after]
    return parts


def _check_model(model: Model) -> None:
    reason = None
    if model.params.vocab_only or model.params.no_alloc:
        reason = "only its vocabulary was loaded"
    elif model.vocab.type == llama.LLAMA_VOCAB_TYPE_NONE:
        reason = "it has no tokenizer"
    elif model.has_encoder or not model.has_decoder:
        reason = "it has an encoder"
    if reason is not None:
        raise InvalidArgumentError(f"this model cannot be given images or sounds: {reason}")


_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_KINDS_BY_END = {
    "projector_type": _STRING, "merge_type": _STRING, "variant": _STRING,
    "_encoder": _BOOL, "use_gelu": _BOOL, "use_silu": _BOOL,
    "epsilon": _F32, "clamp": _F32, "minicpmv_version": _I32,
}  # fmt: skip
_AT_LEAST_1 = (
    "head_count", "embedding_length", "image_size", "patch_size", "scale_factor",
    "spatial_merge_size", "num_mel_bins", "stack_factor",
)  # fmt: skip


def _check_header(header: GGUFHeader, path: str) -> None:
    """Refuse what the engine asserts on or divides by."""
    if header.architecture != "clip":
        raise ModelLoadError(
            f"{path} is a {header.architecture} {header.file_type or 'model'}, not a projector: "
            "give the mmproj file of the model, whose architecture is clip"
        )
    for key, kind in header.kinds.items():
        if not key.startswith("clip.") or kind == _ARRAY:
            continue
        wanted = next((k for end, k in _KINDS_BY_END.items() if key.endswith(end)), _U32)
        value = header.metadata[key]
        if kind != wanted or (key.endswith(_AT_LEAST_1) and not 1 <= int(value) < 1 << 20):
            raise ModelLoadError(f"{path} is damaged: {key} is {value!r}")
        if key.endswith("epsilon") and not 0 <= float(value) < math.inf:
            raise ModelLoadError(f"{path} is damaged: {key} is {value!r}")
    _check_positions(header, path)


def _check_positions(header: GGUFHeader, path: str) -> None:
    """Refuse fewer learned positions than an image has patches; other kinds scale them."""
    image, patch = (header.metadata.get(f"clip.vision.{side}_size") for side in ("image", "patch"))
    is_llava = header.metadata.get("clip.projector_type", "mlp") in _LLAVA
    positions = header.learned_positions
    if not (is_llava and positions and isinstance(image, int) and isinstance(patch, int)):
        return
    if positions < (image // patch) ** 2:
        raise ModelLoadError(
            f"{path} is damaged: an image has more patches than the {positions} positions learned"
        )
