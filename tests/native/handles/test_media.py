"""``MediaProjector``: files become bitmaps, bitmaps chunks, and chunks positions of a sequence."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handles_kit import decode, open_context
from media_bytes import bmp, flac, gif, noise, png, tone, wav
from media_kit import PROMPT, Logits, Projector
from zoo import Zoo
from zoo_vision import write_gemma3_mmproj, write_qwen2vl, write_qwen2vl_mmproj

from llama_cpp import mtmd_cpp
from llama_cpp.errors import (
    ClosedError,
    ContextError,
    EngineAssertionError,
    MediaError,
    ModelNotFoundError,
)
from llama_cpp.handles.context import Context
from llama_cpp.handles.media import MARKER, Bitmap, MediaProjector, interleave
from llama_cpp.handles.media_chunk import MediaChunk
from llama_cpp.handles.model import Model
from llama_cpp.native import assertions
from llama_cpp.native.backend import failed

VENDORED = Path(__file__).parents[3] / "vendor" / "llama.cpp" / "tools" / "mtmd"
SAMPLES = np.round(tone(440) * 32768).astype(np.int16)
WAV = wav(SAMPLES[:, None])


@pytest.fixture(scope="module")
def seeing(tiny_image_mmproj: Path, model: Model) -> Iterator[MediaProjector]:
    with MediaProjector(model, tiny_image_mmproj, n_threads=1) as projector:
        yield projector


@pytest.fixture(scope="module")
def hearing(tiny_audio_mmproj: Path, model: Model) -> Iterator[MediaProjector]:
    with MediaProjector(model, tiny_audio_mmproj, n_threads=1) as projector:
        yield projector


def tokenized(
    projector: MediaProjector, *files: bytes, text: str = PROMPT
) -> list[list[int] | MediaChunk]:
    return projector.tokenize(interleave(text, [projector.read(file) for file in files]))


def only_chunk(projector: MediaProjector, file: bytes) -> MediaChunk:
    (chunk,) = [part for part in tokenized(projector, file) if isinstance(part, MediaChunk)]
    return chunk


def evaluate(parts: list[list[int] | MediaChunk], context: Context) -> Logits:
    """The logits after the last part."""
    position = int(context.model.vocab.add_bos)
    decode(context, [context.model.vocab.bos] * position)
    for part in parts:
        if isinstance(part, MediaChunk):
            part.decode(context, position)
            position += part.n_pos
        else:
            decode(context, part, position)
            position += len(part)
    return context.logits()


def test_what_they_take(seeing: MediaProjector, hearing: MediaProjector) -> None:
    both = (seeing, hearing)
    assert [(each.sees, each.hears) for each in both] == [(True, False), (False, True)]
    assert hearing.sample_rate == 16000
    for projector, file, what in ((seeing, WAV, "images"), (hearing, png(noise(1)), "sounds")):
        with pytest.raises(MediaError, match=f"takes {what} only"):
            projector.read(file)


def test_every_kind_of_file_is_read(seeing: MediaProjector, hearing: MediaProjector) -> None:
    jpeg, mp3 = (VENDORED / name for name in ("test-1.jpeg", "test-2.mp3"))
    for file in (png(noise(1)), bmp(noise(1)), gif(90)):
        bitmap = seeing.read(file)
        assert (bitmap.kind, bitmap.width, bitmap.height) == ("image", 40, 24)
        assert bitmap.id == hashlib.sha256(file).hexdigest()
    assert seeing.read(jpeg.read_bytes()).width == 640
    for file in (WAV, flac(SAMPLES)):
        bitmap = hearing.read(file)
        assert (bitmap.kind, bitmap.width, bitmap.height) == ("audio", len(SAMPLES), 1)
        assert bitmap.id == hashlib.sha256(file).hexdigest()
    # As long as its frames last, without the one that tells how many there are.
    assert hearing.read(mp3.read_bytes()).width == pytest.approx(17.45 * 16000, abs=1000)


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_evaluating_is_what_the_engine_does(
    kind: str, seeing: MediaProjector, hearing: MediaProjector, model: Model
) -> None:
    projector, file = (seeing, png(noise(1))) if kind == "image" else (hearing, WAV)
    parts = tokenized(projector, file)
    before, media, after = parts
    assert isinstance(media, MediaChunk)
    assert (media.kind, media.n_tokens, media.n_pos) == (
        kind,
        *([16] * 2 if kind == "image" else [25] * 2),
    )
    assert before == model.vocab.tokenize("the", add_special=False)
    assert after == model.vocab.tokenize("of", add_special=False)
    with open_context(model) as context:
        found = evaluate(parts, context)
        assert context.memory.seq_pos_max(0) == len(before) + media.n_pos + len(after)
    with Projector(Path(projector.path), model) as raw:
        assert np.array_equal(found, raw.answer(raw.read(file)))


def test_a_chunk_can_be_evaluated_again(seeing: MediaProjector, model: Model) -> None:
    parts = tokenized(seeing, png(noise(1)), png(noise(2)), text=f"{PROMPT} {PROMPT}")
    answers = []
    for n_batch in (256, 256, 3):
        with open_context(model, n_batch=n_batch, n_ubatch=min(n_batch, 128)) as context:
            answers.append(evaluate(parts, context))
    assert np.array_equal(answers[0], answers[1])
    np.testing.assert_allclose(answers[2], answers[0], atol=1e-4)


def test_no_exception_leaves_a_graph_with_threads_of_its_own(
    seeing: MediaProjector, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise failed("a.cpp:12: GGML_ASSERT(x) failed")

    chunk = only_chunk(seeing, png(noise(1)))
    assertions.guarded(mtmd_cpp.mtmd_helper_decode_image_chunk)
    with open_context(model, n_batch=256, n_ubatch=128) as context:
        context.set_abort_callback(lambda: False)
        monkeypatch.setitem(assertions._guards, "mtmd_helper_decode_image_chunk", fail)
        chunk.decode(context, 0)
        context.memory.clear()
        context.set_abort_callback(None)
        with pytest.raises(EngineAssertionError):
            chunk.decode(context, 0)


def test_placeholders_tell_images_apart(
    seeing: MediaProjector, model: Model, tmp_path: Path
) -> None:
    one, again, other = (only_chunk(seeing, png(noise(seed))) for seed in (1, 1, 2))
    assert len(one.placeholders) == one.n_pos
    assert all(-(2**31) <= number < 0 for number in one.placeholders)
    assert one.placeholders == again.placeholders
    assert not set(one.placeholders) & set(other.placeholders)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(Path(seeing.path).read_bytes())
    with MediaProjector(model, copy) as another:
        assert not set(only_chunk(another, png(noise(1))).placeholders) & set(one.placeholders)


def test_rows_and_columns_of_an_image_are_positions(tmp_path: Path) -> None:
    mmproj = write_qwen2vl_mmproj(tmp_path / "mmproj.gguf")
    file = png(noise(1, 48, 80))
    with Model(write_qwen2vl(tmp_path / "text.gguf")) as model:
        with MediaProjector(model, mmproj) as projector, open_context(model) as context:
            parts = tokenized(projector, file)
            (media,) = [part for part in parts if isinstance(part, MediaChunk)]
            assert (media.n_tokens, media.n_pos) == (3 * 5, 5)
            found = evaluate(parts, context)
        with Projector(mmproj, model) as raw:
            assert np.array_equal(found, raw.answer(raw.read(file)))
        with MediaProjector(model, mmproj, image_min_tokens=40, image_max_tokens=50) as projector:
            assert 40 <= only_chunk(projector, file).n_tokens <= 50


def test_an_image_that_is_seen_as_a_whole_needs_a_micro_batch(zoo: Zoo, tmp_path: Path) -> None:
    mmproj = write_gemma3_mmproj(tmp_path / "mmproj.gguf")
    with Model(zoo.sliding_window) as model, MediaProjector(model, mmproj) as projector:
        parts = tokenized(projector, png(noise(1)))
        with open_context(model, n_batch=64, n_ubatch=16) as context:
            found = evaluate(parts, context)
        with Projector(mmproj, model) as raw:
            expected = raw.answer(raw.read(png(noise(1))))
        np.testing.assert_allclose(found, expected, atol=1e-3)
        with open_context(model, n_batch=64, n_ubatch=15) as context:
            with pytest.raises(ContextError, match="n_ubatch of at least"):
                evaluate(parts, context)
            assert context.memory.seq_pos_max(0) < 20


def test_closing(tiny_llama: Path, tiny_image_mmproj: Path) -> None:
    with Model(tiny_llama) as model, open_context(model) as context:
        projector = MediaProjector(model, tiny_image_mmproj)
        bitmap = projector.read(png(noise(1)))
        chunk = only_chunk(projector, png(noise(1)))
        projector.close()
        projector.close()
        assert bitmap.closed
        for call in (
            lambda: projector.read(png(noise(1))),
            lambda: projector.tokenize(["the", bitmap]),
            lambda: chunk.decode(context, 0),
        ):
            with pytest.raises(ClosedError):
                call()
        other = MediaProjector(model, tiny_image_mmproj)
        with (
            pytest.raises(ClosedError, match="Bitmap is closed"),
            other.read(png(noise(1))) as bitmap,
        ):
            bitmap.close()
            other.tokenize([bitmap])
    assert other.closed


def test_what_is_dropped_is_freed(tiny_llama: Path, tiny_image_mmproj: Path) -> None:
    projector = MediaProjector(Model(tiny_llama), tiny_image_mmproj)
    gone: Callable[[], Model | None] = weakref.ref(projector.model)
    chunk = only_chunk(projector, png(noise(1)))
    owner = weakref.ref(projector)
    with open_context(projector.model) as context:
        chunk.decode(context, 0)
    del projector, context
    assert owner() is not None
    del chunk
    assert owner() is None
    assert gone() is None


def test_several_threads_share_a_projector(seeing: MediaProjector, model: Model) -> None:
    files = [png(noise(seed)) for seed in range(4)]
    expected = []
    for file in files:
        with open_context(model) as context:
            expected.append(evaluate(tokenized(seeing, file), context))
    found: dict[int, Logits] = {}

    def look(index: int) -> None:
        with open_context(model) as own:
            found[index] = evaluate(tokenized(seeing, files[index]), own)

    threads = [threading.Thread(target=look, args=(index,)) for index in range(len(files))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[index], expected[index]) for index in range(len(files)))


def test_places_and_bitmaps_must_match(seeing: MediaProjector) -> None:
    bitmap = seeing.read(png(noise(1)))
    assert interleave(f"a{MARKER}b", [bitmap]) == ["a", bitmap, "b"]
    assert interleave("[]", [bitmap], "[]") == ["", bitmap, ""]
    cases: list[tuple[str, list[Bitmap]]] = [
        ("a", [bitmap]),
        (f"a{MARKER}", []),
        (MARKER * 2, [bitmap]),
    ]
    for text, bitmaps in cases:
        with pytest.raises(MediaError, match="places for images"):
            interleave(text, bitmaps)


def test_special_tokens_in_pieces_are_text(seeing: MediaProjector, model: Model) -> None:
    bitmap = seeing.read(png(noise(1)))
    (whole,) = seeing.tokenize(["the<s>"])
    (pieces,) = seeing.tokenize(["the<", "s>"])
    assert isinstance(whole, list)
    assert isinstance(pieces, list)
    assert model.vocab.bos in whole
    assert model.vocab.bos not in pieces
    assert seeing.tokenize([]) == []
    assert len(seeing.tokenize([bitmap, "", bitmap])) == 2


def test_ffmpeg_gets_nothing(
    seeing: MediaProjector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ffmpeg", "ffprobe"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    broken = bytearray(png(noise(1)))
    broken[25] = 5  # a color type that there is not
    with pytest.raises(MediaError, match="cannot be decoded"):
        seeing.read(bytes(broken))
    assert not (tmp_path / "called").exists()


def test_a_projector_that_is_not_there(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        MediaProjector(model, tmp_path / "none.gguf")
