"""What may reach a native decoder: files of known kinds, whose size is what they say."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_bytes import RATE, bmp, flac, gif, noise, png, tone, wav

from llama_cpp.errors import MediaError
from llama_cpp.handles import media_files
from llama_cpp.handles.media_files import MediaFile, checked_media

SAMPLES = np.round(tone(440) * 32768).astype(np.int16)
VENDORED = Path(__file__).parents[3] / "vendor" / "llama.cpp" / "tools" / "mtmd"
JPEG = (VENDORED / "test-1.jpeg").read_bytes()
MP3 = (VENDORED / "test-2.mp3").read_bytes()
PNG, WAV, FLAC = png(noise(1)), wav(SAMPLES[:, None]), flac(SAMPLES[:4096])


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png_of(width: int, height: int, stream: bytes, depth: int = 8, color: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(stream)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*each) for each in chunks)


@pytest.mark.parametrize("file", [PNG, JPEG, gif(100), bmp(noise(1)), WAV, FLAC])
def test_known_files_pass_as_they_are(file: bytes) -> None:
    kind, content = checked_media(file)
    assert kind == ("audio" if file in (WAV, FLAC) else "image")
    assert content == file


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (b"", "is empty"),
        (b"G", "begins with b'G'"),
        (b"Once upon a time there was an image.", "PNG, JPEG, GIF or BMP"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypmp42", "video"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"OggS" + bytes(60), "Ogg"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_other_files_are_refused_by_name(file: bytes, what: str) -> None:
    with pytest.raises(MediaError, match=what):
        checked_media(file)


def test_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_files, "BYTES_MAX", len(PNG) - 1)
    with pytest.raises(MediaError, match="scale it down"):
        checked_media(PNG)


@pytest.mark.parametrize(
    "file", [PNG, JPEG[:100], gif(1)[:9], bmp(noise(1))[:20], WAV[:40], FLAC[:24]]
)
def test_files_that_end_in_their_heads_are_refused(file: bytes) -> None:
    with pytest.raises(MediaError, match="damaged|ends too early"):
        checked_media(file[:-1])
    with pytest.raises(MediaError):
        checked_media(file[:10])


SIZES = [(0, 5), (5, 0), (2**31 - 1, 2**31 - 1), (8193, 8192), (201, 1), (1, 201), (40000, 2)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_sizes_that_no_image_should_have_are_refused(width: int, height: int) -> None:
    short = (min(width, 0xFFFF), min(height, 0xFFFF))
    info = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, 0, 0, 0, 0, 0)
    files = [
        png_of(width, height, b""),
        b"\xff\xd8\xff\xe0\0\2\xff\xc0\0\x11\x08" + struct.pack(">HH", *short[::-1]) + bytes(30),
        b"GIF89a" + struct.pack("<HH", *short) + bytes(30),
        struct.pack("<2sIII", b"BM", 54, 0, 54) + info,
    ]
    for file in files:
        with pytest.raises(MediaError, match=r"pixels"):
            checked_media(file)


def test_a_small_png_cannot_unfold_to_more_than_its_pixels() -> None:
    bomb = png_of(8, 8, bytes(1 << 24))
    assert len(bomb) < 1 << 15
    with pytest.raises(MediaError, match="more pixels than it says"):
        checked_media(bomb)


def test_a_png_loses_what_is_not_needed() -> None:
    extra = png_chunk(b"tEXt", b"Comment\0" + b"x" * 1000)
    assert checked_media(PNG[:33] + extra + PNG[33:]).content == PNG
    assert checked_media(PNG + b"behind the end").content == PNG


@pytest.mark.parametrize("depth, color", [(8, 0), (16, 6), (8, 4), (1, 0), (4, 3)])
def test_every_kind_of_png_has_the_size_that_it_says(depth: int, color: int) -> None:
    channels = {0: 1, 3: 1, 4: 2, 6: 4}[color]
    row = (37 * depth * channels + 7) // 8 + 1
    file = png_of(37, 11, bytes(11 * row), depth, color)
    assert checked_media(file) == MediaFile("image", file)


def test_a_jpeg_says_its_size_behind_other_parts() -> None:
    parts = b"\xff\xe1" + struct.pack(">H", 2000) + b"\xff\xc0" * 999 + b"rubbish" + b"\xff" * 9
    frame = b"\xc2\0\x11\x08" + struct.pack(">HH", 10, 5000)
    with pytest.raises(MediaError, match="5000 x 10 pixels"):
        checked_media(b"\xff\xd8" + parts + frame + bytes(20))
    for without in (b"\xff\xd8\xff\xda\0\x08", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe0\0\2aaaa"):
        with pytest.raises(MediaError, match="JPEG is damaged"):
            checked_media(without)


def test_a_wav_is_written_anew() -> None:
    noted = WAV[:36] + b"LIST\x05\0\0\0notes\0" + WAV[36:] + b"data\xff\xff\xff\xff"
    assert checked_media(noted).content == WAV
    stream = WAV[:40] + b"\xff\xff\xff\xff" + WAV[44:]
    assert checked_media(stream).content == WAV
    extensible = struct.pack("<HHIIHHHHIH14x", 0xFFFE, 1, RATE, 2 * RATE, 2, 16, 22, 16, 4, 1)
    head = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(extensible)) + extensible
    assert checked_media(head + WAV[36:]).content == WAV


@pytest.mark.parametrize(
    ("tag", "channels", "rate", "bits"),
    [(2, 1, RATE, 4), (1, 0, RATE, 16), (1, 1, 1, 16), (1, 1, 2**32 - 1, 16), (1, 1, RATE, 12),
     (3, 1, RATE, 16), (1, 65535, RATE, 16), (6, 1, RATE, 16)],
)  # fmt: skip
def test_a_wav_of_another_kind_is_refused(tag: int, channels: int, rate: int, bits: int) -> None:
    form = struct.pack("<HHIIHH", tag, channels, rate, 2 * rate & 2**32 - 1, 2, bits)
    with pytest.raises(MediaError, match="16 bits of PCM"):
        checked_media(WAV[:20] + form + WAV[36:])


def test_what_lasts_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for claim in (1801 * RATE, 2**36 - 1):
        with pytest.raises(MediaError, match="cut it"):
            checked_media(flac(SAMPLES[:4096], total=claim))
    monkeypatch.setattr(media_files, "SECONDS_MAX", 0.4)
    for file in (WAV, MP3):
        with pytest.raises(MediaError, match="cut it"):
            checked_media(file)


@pytest.mark.parametrize(("rate", "total"), [(RATE, 0), (1, 4096), (2**20 - 1, 4096)])
def test_a_flac_must_say_how_long_it_is(rate: int, total: int) -> None:
    with pytest.raises(MediaError, match="convert it to WAV"):
        checked_media(flac(SAMPLES[:4096], rate, total))


def test_an_mp3_keeps_nothing_but_its_frames() -> None:
    kind, frames = checked_media(MP3)
    assert kind == "audio"
    assert frames[:2] == b"\xff\xfb"
    assert len(frames) > 0.9 * len(MP3)
    tagged = b"ID3\4\0\0\0\0\x02\x01" + b"\xff\xfb\x90\0" * 64 + b"x" + frames + b"TAG" + bytes(125)
    assert checked_media(tagged).content == frames
    assert checked_media(frames[:3000] + b"rubbish" + frames[3000:]).kind == "audio"


def test_an_mp3_cannot_lie_about_its_length() -> None:
    frames = checked_media(MP3).content
    length = next(i for i in range(100, 2000) if frames[i : i + 2] == b"\xff\xfb")
    lie = frames[:36] + b"Xing" + b"\0\0\0\1" + b"\xff" * 4 + frames[48:length]
    assert checked_media(lie + frames).content == frames


def test_an_mp3_without_frames_is_refused() -> None:
    for file in (b"\xff\xfb\x90\0" + bytes(1000), b"ID3" + bytes(100), b"\xff\xfb\0\0" * 1000):
        with pytest.raises(MediaError, match="no sound"):
            checked_media(file)


@settings(max_examples=300)
@given(
    st.sampled_from([PNG, JPEG[:2000], gif(9), bmp(noise(1)), WAV[:200], FLAC[:200], MP3[:3000]]),
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8))),
    st.integers(0, 400),
)
def test_damage_raises_nothing_else(
    file: bytes, changes: list[tuple[int, bytes]], missing: int
) -> None:
    for position, value in changes:
        file = file[:position] + value + file[position + len(value) :]
    try:
        kind, content = checked_media(file[: len(file) - missing])
    except MediaError:
        return
    assert kind in ("image", "audio")
    assert len(content) <= len(file)
