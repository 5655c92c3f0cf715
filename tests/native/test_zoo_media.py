"""The tiny projectors: what they are shown reaches the text model, through the raw functions."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_bytes import RATE, noise, png, tone, wav
from media_kit import PROMPT, Logits, Projector, content, split
from zoo_media import write_audio_mmproj, write_image_mmproj

from llama_cpp import mtmd_cpp as raw
from llama_cpp.handles.model import Model

TEXT, IMAGE, AUDIO = (
    raw.MTMD_INPUT_CHUNK_TYPE_TEXT,
    raw.MTMD_INPUT_CHUNK_TYPE_IMAGE,
    raw.MTMD_INPUT_CHUNK_TYPE_AUDIO,
)


@pytest.fixture(scope="module")
def seeing(tiny_image_mmproj: Path, model: Model) -> Iterator[Projector]:
    with Projector(tiny_image_mmproj, model) as projector:
        yield projector


@pytest.fixture(scope="module")
def hearing(tiny_audio_mmproj: Path, model: Model) -> Iterator[Projector]:
    with Projector(tiny_audio_mmproj, model) as projector:
        yield projector


def all_differ(*answers: Logits) -> bool:
    """By more than rounding could."""
    return all(
        np.abs(one - other).max() > 0.1
        for index, one in enumerate(answers)
        for other in answers[:index]
    )


def tokens_of(chunk: Any) -> list[int]:
    count = ctypes.c_size_t()
    tokens = raw.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    return tokens[: count.value]


def test_what_they_take(seeing: Projector, hearing: Projector) -> None:
    both = (seeing.pointer, hearing.pointer)
    assert [raw.mtmd_support_vision(each) for each in both] == [True, False]
    assert [raw.mtmd_support_audio(each) for each in both] == [False, True]
    assert [raw.mtmd_get_audio_sample_rate(each) for each in both] == [-1, RATE]


def test_what_they_take_is_known_without_loading(
    tiny_image_mmproj: Path, tiny_audio_mmproj: Path
) -> None:
    found = [raw.mtmd_get_cap_from_file(bytes(p)) for p in (tiny_image_mmproj, tiny_audio_mmproj)]
    assert [(caps.inp_vision, caps.inp_audio) for caps in found] == [(True, False), (False, True)]


@pytest.mark.parametrize("kind", [IMAGE, AUDIO])
def test_chunks_count_their_tokens_and_positions(
    kind: int, seeing: Projector, hearing: Projector, model: Model
) -> None:
    projector = seeing if kind == IMAGE else hearing
    bitmap = seeing.image(noise(1)) if kind == IMAGE else hearing.sound(tone(440))
    raw.mtmd_bitmap_set_id(bitmap, b"its name")
    chunks = projector.tokenize([bitmap])
    before, media, after = parts = split(chunks)
    assert [raw.mtmd_input_chunk_get_type(part) for part in parts] == [TEXT, kind, TEXT]
    assert [raw.mtmd_input_chunk_get_id(part) for part in parts] == [None, b"its name", None]
    assert tokens_of(before) == model.vocab.tokenize("the")
    assert tokens_of(after) == model.vocab.tokenize("of", add_special=False)
    assert raw.mtmd_input_chunk_get_n_tokens(media) == (16 if kind == IMAGE else 25)
    counts = [raw.mtmd_input_chunk_get_n_tokens(part) for part in parts]
    assert counts[::2] == [len(tokens_of(before)), len(tokens_of(after))]
    assert [raw.mtmd_input_chunk_get_n_pos(part) for part in parts] == counts
    assert raw.mtmd_helper_get_n_tokens(chunks) == sum(counts)
    assert raw.mtmd_helper_get_n_pos(chunks) == sum(counts)


def test_what_an_image_shows_changes_the_answer(seeing: Projector) -> None:
    black, white = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    shown = (noise(1), noise(2), black, white, noise(1))
    *answers, again = [seeing.answer(seeing.image(rgb)) for rgb in shown]
    assert np.array_equal(again, answers[0])
    assert all_differ(*answers)


def test_how_a_sound_sounds_changes_the_answer(hearing: Projector) -> None:
    played = (tone(440), tone(880), tone(440, seconds=1), tone(440))
    *answers, again = [hearing.answer(hearing.sound(samples)) for samples in played]
    assert np.array_equal(again, answers[0])
    assert all_differ(*answers)


def test_order_of_images_changes_the_answer(seeing: Projector) -> None:
    one, other = seeing.image(noise(1)), seeing.image(noise(2))
    pairs = ((one, other), (other, one), (one, one))
    assert all_differ(*(seeing.answer(*pair, text=f"{PROMPT} {PROMPT}") for pair in pairs))


def test_small_batches_give_the_same_answer(seeing: Projector) -> None:
    chunks = seeing.tokenize([seeing.image(noise(1))])
    whole, in_steps = seeing.evaluate(chunks), seeing.evaluate(chunks, n_batch=3)
    np.testing.assert_allclose(in_steps, whole, atol=1e-4)


def test_each_started_half_minute_is_a_chunk(hearing: Projector) -> None:
    chunks = hearing.tokenize([hearing.sound(tone(440, seconds=31))])
    _, *windows, _ = split(chunks)
    assert [raw.mtmd_input_chunk_get_n_tokens(window) for window in windows] == [25, 25]
    assert all_differ(hearing.evaluate(chunks), hearing.answer(hearing.sound(tone(440))))


def test_png_is_the_image_that_it_was_made_of(seeing: Projector) -> None:
    rgb = noise(3)
    file = png(rgb)
    bitmap = seeing.read(file)
    assert (raw.mtmd_bitmap_get_nx(bitmap), raw.mtmd_bitmap_get_ny(bitmap)) == (40, 24)
    assert content(bitmap) == rgb.tobytes()
    assert raw.mtmd_bitmap_get_id(bitmap) == hashlib.sha256(file).hexdigest().encode()
    assert np.array_equal(seeing.answer(bitmap), seeing.answer(seeing.image(rgb)))


def test_wav_is_the_sound_that_it_was_made_of(hearing: Projector) -> None:
    rounded = np.round(tone(440) * 32768).astype(np.int16)
    samples = rounded.astype(np.float32) / np.float32(32768)
    file = wav(rounded[:, None])
    bitmap = hearing.read(file)
    assert raw.mtmd_bitmap_is_audio(bitmap)
    assert content(bitmap) == samples.tobytes()
    assert raw.mtmd_bitmap_get_id(bitmap) == hashlib.sha256(file).hexdigest().encode()
    assert np.array_equal(hearing.answer(bitmap), hearing.answer(hearing.sound(samples)))


def test_wav_is_brought_to_one_channel_at_the_encoders_rate(hearing: Projector) -> None:
    channel = np.round(tone(440, rate=8000) * 32768).astype(np.int16)
    bitmap = hearing.read(wav(np.stack([channel, channel], axis=1), rate=8000))
    samples = np.frombuffer(content(bitmap), np.float32)
    assert abs(samples.size - RATE // 2) < RATE // 200
    spectrum = np.abs(np.fft.rfft(samples, RATE // 2))
    assert 2 * spectrum.argmax() == 440  # half a second tells frequencies 2 Hz apart


def test_a_text_model_of_another_width_is_refused(
    tmp_path: Path, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    for write in (write_image_mmproj, write_audio_mmproj):
        path = write(tmp_path / "narrow.gguf", n_embd=128)
        params = raw.mtmd_context_params_default()
        params.use_gpu = False
        caplog.clear()
        assert raw.mtmd_init_from_file(bytes(path), model.pointer, params) is None
        assert "text model (n_embd = 256) and mmproj (n_embd = 128)" in caplog.text


def test_sizes_are_what_the_writers_were_told(tmp_path: Path, model: Model) -> None:
    path = write_image_mmproj(tmp_path / "image.gguf", image_size=28, patch_size=14, n_layer=3)
    with Projector(path, model) as seeing:
        chunks = seeing.tokenize([seeing.image(noise(1))])
        assert raw.mtmd_input_chunk_get_n_tokens(split(chunks)[1]) == 4
        seeing.evaluate(chunks)
    path = write_audio_mmproj(tmp_path / "audio.gguf", stack=100, n_mel=128, n_layer=2)
    with Projector(path, model) as hearing:
        chunks = hearing.tokenize([hearing.sound(tone(440))])
        assert raw.mtmd_input_chunk_get_n_tokens(split(chunks)[1]) == 15
        hearing.evaluate(chunks)


def test_same_arguments_give_the_same_bytes(
    tmp_path: Path, tiny_image_mmproj: Path, tiny_audio_mmproj: Path
) -> None:
    for write, made in (
        (write_image_mmproj, tiny_image_mmproj),
        (write_audio_mmproj, tiny_audio_mmproj),
    ):
        again = write(tmp_path / "again.gguf").read_bytes()
        assert again == made.read_bytes()
        assert again != write(tmp_path / "other.gguf", seed=1).read_bytes()
        assert len(again) < 2**20
