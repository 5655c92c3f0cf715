"""Files, bitmaps and chunks that cannot be, and projectors that are none."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handles_kit import decode, open_context
from isolated import Cases, Files, Outcomes
from media_bytes import bmp, flac, gif, noise, png, tone, wav
from media_kit import PROMPT
from zoo_decoders import write_llama
from zoo_media import write_audio_mmproj, write_image_mmproj
from zoo_vocab import bpe_vocab

from llama_cpp.errors import (
    BusyError,
    ClosedError,
    DecodeError,
    InvalidArgumentError,
    LlamaError,
    MediaError,
    ModelLoadError,
    NotGGUFError,
    SequenceError,
    TextError,
    TruncatedModelError,
)
from llama_cpp.handles.media import MediaProjector, interleave
from llama_cpp.handles.media_chunk import MediaChunk
from llama_cpp.handles.model import Model

cases = Cases(__file__)

VENDORED = Path(__file__).parents[3] / "vendor" / "llama.cpp" / "tools" / "mtmd"
SAMPLES = np.round(tone(440) * 32768).astype(np.int16)
IMAGE, SOUND = png(noise(1)), wav(SAMPLES[:, None])


def mmproj(files: Files, kind: str) -> Path:
    path = files.scratch / f"{kind}.gguf"
    if not path.exists():
        (write_image_mmproj if kind == "image" else write_audio_mmproj)(path)
    return path


def opened(files: Files, kind: str = "image", **options: Any) -> MediaProjector:
    return MediaProjector(files.model, mmproj(files, kind), n_threads=1, **options)


def chunk_of(projector: MediaProjector, file: bytes = IMAGE) -> MediaChunk:
    parts = projector.tokenize(interleave(PROMPT, [projector.read(file)]))
    (chunk,) = [part for part in parts if isinstance(part, MediaChunk)]
    return chunk


def refused(
    kind: type[LlamaError],
    call: Callable[..., Any],
    *arguments: Any,
    match: str | None = None,
    **named: Any,
) -> None:
    with pytest.raises(kind, match=match):
        call(*arguments, **named)


@cases.add
def files_of_the_other_kind_are_refused(files: Files) -> None:
    refused(MediaError, opened(files).read, SOUND, match="takes images only")
    refused(MediaError, opened(files, "audio").read, IMAGE, match="takes sounds only")


@cases.add
def what_is_no_file_is_refused(files: Files) -> None:
    for kind in ("image", "audio"):
        projector = opened(files, kind)
        for data in (b"", b"\0", b"RIFF", b"<__media__>", bytes(1000), b"\xff" * 1000, b"BM" * 99):
            refused(MediaError, projector.read, data)
        for thing in (None, "text", 5, [1, 2], bytearray(IMAGE), memoryview(IMAGE), Path("a.png")):
            refused(InvalidArgumentError, projector.read, thing)


@cases.add
def sounds_that_are_too_short_are_refused(files: Files) -> None:
    projector = opened(files, "audio")
    for count in (0, 1, 2, 199, 201, 1599):
        refused(MediaError, projector.read, wav(SAMPLES[:count, None]))
    refused(MediaError, projector.read, wav(SAMPLES[:40, None], 4000))
    refused(MediaError, projector.read, flac(SAMPLES[:2]), match="seconds")
    projector.read(wav(SAMPLES[:1600, None]))


@cases.add
def sounds_that_claim_to_be_long_take_no_memory(files: Files) -> None:
    projector = opened(files, "audio")
    claims = [
        SOUND[:40] + struct.pack("<I", size) + SOUND[44:] for size in (2**31, 2**32 - 2, 2**32 - 1)
    ]
    for file in claims:
        assert projector.read(file).width == len(SAMPLES)
    refused(MediaError, projector.read, flac(SAMPLES, total=2**36 - 1))
    slow = SOUND[:24] + struct.pack("<I", 1) + SOUND[28:]
    refused(MediaError, projector.read, slow, match="convert it")


@cases.add
def images_of_absurd_sizes_are_refused(files: Files) -> None:
    projector = opened(files)
    for width, height in ((0, 1), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (1, 201), (65535, 65535)):
        file = IMAGE[:16] + struct.pack(">II", width, height) + IMAGE[24:]
        refused(MediaError, projector.read, file)
    for width, height in ((1, 1), (200, 1), (1, 200), (3, 600)):
        chunk = chunk_of(projector, png(noise(1, height, width)))
        assert projector.encode(chunk).shape == (16, 256)


@cases.add
def damaged_files_are_refused_or_read(files: Files) -> None:
    images = [IMAGE, gif(100), bmp(noise(1)), (VENDORED / "test-1.jpeg").read_bytes()]
    sounds = [SOUND, flac(SAMPLES), (VENDORED / "test-2.mp3").read_bytes()[:20000]]
    generator = random.Random(1)
    for kind, originals in (("image", images), ("audio", sounds)):
        projector = opened(files, kind)
        read = 0
        for original in originals:
            for file in damaged(original, generator):
                try:
                    projector.read(file).close()
                    read += 1
                except MediaError:
                    pass
        assert read > 20


def damaged(original: bytes, generator: random.Random) -> Iterator[bytes]:
    for _ in range(100):
        file = bytearray(original)
        for _ in range(generator.choice((1, 4, 30))):
            # Half of the time in the head, which says what is to come.
            end = generator.choice((min(200, len(file)), len(file)))
            file[generator.randrange(end)] = generator.randrange(256)
        yield bytes(file[: generator.choice((len(file), generator.randrange(1, len(file))))])


@cases.add
def what_is_no_projector_is_refused(files: Files) -> None:
    good = mmproj(files, "image").read_bytes()
    broken = files.scratch / "broken.gguf"
    contents = [
        (TruncatedModelError, good[: len(good) // 2]),
        (TruncatedModelError, good[:-1]),
        (TruncatedModelError, b""),
        (NotGGUFError, b"This is an image of a projector."),
        (ModelLoadError, good[:8] + b"\xff" * 16 + good[24:]),
    ]
    for kind, content in contents:
        broken.write_bytes(content)
        refused(kind, MediaProjector, files.model, broken)
    for path in (files.llama, files.lora, files.bert):
        refused(ModelLoadError, MediaProjector, files.model, path, match="mmproj file")
    for name in ("", "a\0b"):
        refused(TextError, MediaProjector, files.model, name)
    refused(ModelLoadError, MediaProjector, files.model, files.scratch)


def replaced(content: bytes, key: str, old: bytes, new: bytes) -> bytes:
    name = key.encode()
    start = content.index(struct.pack("=Q", len(name)) + name) + 8 + len(name)
    assert content[start : start + len(old)] == old, (key, content[start : start + 12])
    return content[:start] + new + content[start + len(old) :]


@cases.add
def projectors_with_other_types_and_zeros_are_refused(files: Files) -> None:
    good = mmproj(files, "image").read_bytes()
    broken = files.scratch / "broken.gguf"
    u32, i32, f32, boolean = (struct.pack("=i", kind) for kind in (4, 5, 6, 7))
    for key in ("image_size", "patch_size", "attention.head_count", "embedding_length"):
        key = f"clip.vision.{key}"
        for kind in (i32, f32):
            broken.write_bytes(replaced(good, key, u32, kind))
            refused(ModelLoadError, MediaProjector, files.model, broken, match=key)
        start = good.index(key.encode()) + len(key)
        for value in (0, 2**31):
            broken.write_bytes(good[: start + 4] + struct.pack("=I", value) + good[start + 8 :])
            refused(ModelLoadError, MediaProjector, files.model, broken, match=key)
    broken.write_bytes(replaced(good, "clip.has_vision_encoder", boolean, b"\0\0\0\0"))
    refused(ModelLoadError, MediaProjector, files.model, broken, match="has_vision_encoder")
    length = struct.pack("=Q", 3)
    for name in (b"mpl", b"adp"):
        broken.write_bytes(good.replace(length + b"mlp", length + name))
        assert broken.read_bytes() != good
        refused(ModelLoadError, MediaProjector, files.model, broken, match="native log")


@cases.add
def projectors_of_another_width_are_refused(files: Files) -> None:
    path = write_image_mmproj(files.scratch / "narrow.gguf", n_embd=128)
    refused(ModelLoadError, MediaProjector, files.model, path, match="n_embd = 128")


@cases.add
def models_that_read_no_embeddings_are_refused(files: Files) -> None:
    path = mmproj(files, "image")
    with Model(files.t5) as model:
        refused(InvalidArgumentError, MediaProjector, model, path, match="encoder")
    narrow = write_image_mmproj(files.scratch / "narrow.gguf", n_embd=128)
    with Model(files.bert) as model, open_context(model) as context:
        chunk = chunk_of(MediaProjector(model, narrow))
        refused(InvalidArgumentError, chunk.decode, context, 0, match="memory")
    params = Model.default_params()
    params.vocab_only = True
    with Model(files.llama, params) as model:
        refused(InvalidArgumentError, MediaProjector, model, path, match="vocabulary")
    refused(InvalidArgumentError, MediaProjector, None, path)
    closed = Model(files.llama)
    closed.close()
    refused(ClosedError, MediaProjector, closed, path)


@cases.add
def options_that_cannot_be_are_refused(files: Files) -> None:
    for options in (
        {"n_threads": 0}, {"n_threads": -1}, {"n_threads": 10**6}, {"n_threads": "2"},
        {"image_min_tokens": -2}, {"image_max_tokens": 2**31}, {"image_max_tokens": 1.5},
        {"image_min_tokens": 9, "image_max_tokens": 8},
    ):  # fmt: skip
        path = mmproj(files, "image")
        refused(InvalidArgumentError, MediaProjector, files.model, path, **options)
    opened(files, image_min_tokens=0, image_max_tokens=0).close()


@cases.add
def parts_that_are_none_are_refused(files: Files) -> None:
    projector, other = opened(files), opened(files)
    bitmap = projector.read(IMAGE)
    for part in (None, 5, b"text", ["text"], IMAGE):
        refused(InvalidArgumentError, projector.tokenize, ["a", part])
    refused(InvalidArgumentError, other.tokenize, [bitmap], match="projector that read it")
    refused(TextError, projector.tokenize, ["\ud800", bitmap])
    bitmap.close()
    refused(ClosedError, projector.tokenize, [bitmap])
    assert projector.tokenize(["a\0b"]) == [files.model.vocab.tokenize("a\0b", add_special=False)]


@cases.add
def long_words_do_not_overflow_the_stack(files: Files) -> None:
    with Model(write_llama(files.scratch / "bpe.gguf", vocab=bpe_vocab())) as model:
        projector = MediaProjector(model, mmproj(files, "image"))
        text = "a" * 200_000
        (tokens,) = projector.tokenize([text])
        assert tokens == model.vocab.tokenize(text, add_special=False, parse_special=True)
        refused(TextError, projector.tokenize, ["b" * (1 << 21) + "c"], match="white space")


@cases.add
def places_that_cannot_be_are_refused(files: Files) -> None:
    chunk = chunk_of(opened(files))
    with open_context(files.model, n_seq_max=2) as context:
        for seq_id in (-1, 2, 2**31, 2**40, "0", None):
            refused(SequenceError, chunk.decode, context, 0, seq_id)
        for pos in (-1, 2**31 - 1, 2**31, 2**40, "0", None):
            refused(InvalidArgumentError, chunk.decode, context, pos)
        decode(context, pos=0)
        for pos in (0, 5, 50):
            refused(DecodeError, chunk.decode, context, pos)
        chunk.decode(context, 10, 0)
        chunk.decode(context, 0, 1)
        assert [context.memory.seq_pos_max(each) for each in (0, 1)] == [25, 15]


@cases.add
def contexts_without_room_or_of_others_are_refused(files: Files) -> None:
    chunk = chunk_of(opened(files))
    with open_context(files.model) as context:
        for position in range(0, context.n_ctx - 15, 16):
            chunk.decode(context, position)
        refused(DecodeError, chunk.decode, context, context.n_ctx, match="no room")
        assert context.memory.seq_pos_max(0) == context.n_ctx - 1
    refused(ClosedError, chunk.decode, context, 0)
    with Model(files.llama) as other, open_context(other) as context:
        refused(InvalidArgumentError, chunk.decode, context, 0, match="loaded for")
    with open_context(files.model, embeddings=True, n_outputs_max=8) as context:
        refused(LlamaError, chunk.decode, context, 0, match="outputs")


@cases.add
def aborted_images_can_be_evaluated_again(files: Files) -> None:
    chunk = chunk_of(opened(files))
    with open_context(files.model) as context:
        context.abort()
        refused(DecodeError, chunk.decode, context, 0, match="stopped")
        context.memory.clear()

        def fail() -> bool:
            raise ZeroDivisionError

        context.set_abort_callback(fail)
        with pytest.raises(ZeroDivisionError):
            chunk.decode(context, 0)

        def close() -> bool:
            with pytest.raises(BusyError):
                chunk.projector.close()
            return False

        context.set_abort_callback(close)
        context.memory.clear()
        chunk.decode(context, 0)
        context.set_abort_callback(None)


@pytest.mark.parametrize("name", cases.names)
def test_bad_input(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)
