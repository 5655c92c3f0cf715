"""Image and audio files, checked before a native decoder sees them.

The decoders believe what a file says of its size and take memory for it, and what they do not know
they give to ffmpeg. So a file is read as far as its size goes. What else could make a decoder see
another size (a second header, a compressed stream without end) is left out.
"""

from __future__ import annotations

import struct
import zlib
from typing import Literal, NamedTuple

from ..errors import MediaError

BYTES_MAX = 64 << 20
PIXELS_MAX = 1 << 26
RATIO_MAX = 200
"""Of the sides of an image: some encoders make a square of the longer one, others many tiles."""
SECONDS_MAX = 1800
_RATES = range(4000, 384_001)

Kind = Literal["image", "audio"]


class MediaFile(NamedTuple):
    """A file that a native decoder may see.

    Attributes:
        kind: What it is.
        content: The file, without what is not needed.
    """

    kind: Kind
    content: bytes


def checked_media(data: bytes) -> MediaFile:
    """Check an image (PNG, JPEG, GIF, BMP) or a sound (WAV, MP3, FLAC).

    Raises:
        MediaError: It is neither, damaged, too large, or too long.
    """
    if not data:
        raise MediaError("the image or audio file is empty")
    if len(data) > BYTES_MAX:
        raise MediaError(f"the file has {len(data)} bytes, at most {BYTES_MAX} go: scale it down")
    try:
        return _checked(data)
    except (struct.error, IndexError):
        raise _damaged("file", "it ends too early") from None


def _checked(data: bytes) -> MediaFile:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return MediaFile("image", _png(data))
    if data.startswith(b"\xff\xd8\xff"):
        _check_size("JPEG", *_jpeg_size(data))
        return MediaFile("image", data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        _check_size("GIF", *struct.unpack_from("<HH", data, 6))
        return MediaFile("image", data)
    if data.startswith(b"BM"):
        _check_size("BMP", *_bmp_size(data))
        return MediaFile("image", data)
    if data.startswith(b"RIFF") and data[8:12] == b"WAVE":
        return MediaFile("audio", _wav(data))
    if data.startswith(b"fLaC"):
        return MediaFile("audio", _flac(data))
    if data.startswith(b"ID3") or (data[0] == 0xFF and data[1] & 0xE0 == 0xE0):
        return MediaFile("audio", _mp3(data))
    what = next((name for name, start, at in _FOREIGN if data.startswith(start, at)), "no format")
    raise MediaError(
        f"the file is {what} that can be read here (it begins with {data[:8]!r}): give an image as "
        "PNG, JPEG, GIF or BMP, or a sound as WAV, MP3 or FLAC"
    )


_FOREIGN = (
    ("WebP, which is none", b"WEBP", 8),
    ("HEIC, AVIF or a video, which are none", b"ftyp", 4),
    ("TIFF, which is none", b"II*\0", 0),
    ("TIFF, which is none", b"MM\0*", 0),
    ("SVG or another text, which is none", b"<", 0),
    ("Ogg, which is none", b"OggS", 0),
)


def _damaged(what: str, why: str) -> MediaError:
    return MediaError(f"the {what} is damaged: {why}")


def _check_size(what: str, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise _damaged(what, f"it says that it has {width} x {height} pixels")
    if width * height > PIXELS_MAX:
        raise MediaError(
            f"the {what} has {width} x {height} pixels, at most {PIXELS_MAX} go: scale it down"
        )
    if max(width, height) > RATIO_MAX * min(width, height):
        raise MediaError(
            f"the {what} has {width} x {height} pixels: one side may be at most {RATIO_MAX} times "
            "as long as the other. Cut it"
        )


def _check_seconds(what: str, seconds: float) -> None:
    if seconds > SECONDS_MAX:
        raise MediaError(
            f"the {what} lasts {seconds:.0f} seconds, at most {SECONDS_MAX} go: cut it"
        )


_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type


def _png(data: bytes) -> bytes:
    chunks: list[bytes] = []
    pixels: list[bytes] = []
    raw_bytes = 0
    position, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise _damaged("PNG", "it ends too early")
        if not chunks:
            if (length, kind) != (13, b"IHDR"):
                raise _damaged("PNG", "it does not begin with its size")
            width, height, depth, color = struct.unpack_from(">IIBB", data, position + 8)
            _check_size("PNG", width, height)
            row = width * depth * _CHANNELS.get(color, 4) // 8 + 2
            # An interlaced one has more rows, each with a byte of its own.
            raw_bytes = 2 * row * height + 1024
        elif kind == b"IDAT":
            pixels.append(data[position + 8 : end - 4])
        if kind in _NEEDED:
            chunks.append(data[position:end])
        position = end
    _check_inflated(b"".join(pixels), raw_bytes)
    return data[:8] + b"".join(chunks)


def _check_inflated(stream: bytes, limit: int) -> None:
    inflater = zlib.decompressobj()
    size, step = 0, 1 << 14
    try:
        for start in range(0, len(stream), step):
            size += len(inflater.decompress(stream[start : start + step]))
            if size > limit:
                raise _damaged("PNG", "it has more pixels than it says")
    except zlib.error as error:
        raise _damaged("PNG", str(error)) from None
    if not inflater.eof:
        raise _damaged("PNG", "it ends too early")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    position = 2
    while True:
        position = data.find(b"\xff", position)
        if position < 0:
            raise _damaged("JPEG", "it ends before it says its size")
        while data[position] == 0xFF:
            position += 1
        marker = data[position]
        position += 1
        if marker in (0xC0, 0xC1, 0xC2):
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
        if marker in (0xD9, 0xDA):
            raise _damaged("JPEG", "it does not say its size")
        position += struct.unpack_from(">H", data, position)[0]


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    if header == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # upside down if negative


_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_SAMPLE_BITS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64), _A_LAW: (8,), _MU_LAW: (8,)}


def _wav(data: bytes) -> bytes:
    position, form = 12, b""
    while True:
        kind, length = struct.unpack_from("<4sI", data, position)
        body = data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
        if kind == b"fmt ":
            form = body
        elif kind == b"data":  # a stream says that it has 4 GiB, which are those until its end
            break
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if tag == _EXTENSIBLE:
        (tag,) = struct.unpack_from("<H", form, 24)
    if bits not in _SAMPLE_BITS.get(tag, ()) or not 1 <= channels <= 64 or rate not in _RATES:
        raise MediaError(
            f"the WAV has {channels} channels of {bits} bits at {rate} Hz in encoding {tag}: "
            "convert it to 16 bits of PCM at 16000 Hz"
        )
    frame = channels * bits // 8
    body = body[: len(body) // frame * frame]
    _check_seconds("WAV", len(body) / frame / rate)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16, tag, channels, rate,
        rate * frame, frame, bits, b"data", len(body),
    )  # fmt: skip
    return head + body


def _flac(data: bytes) -> bytes:
    if data[4] & 0x7F or int.from_bytes(data[5:8], "big") != 34:
        raise _damaged("FLAC", "it does not begin with its length")
    (packed,) = struct.unpack_from(">Q", data, 18)
    rate, total = packed >> 44, packed & (1 << 36) - 1
    if rate not in _RATES or not total:
        raise MediaError(
            f"the FLAC says that it has {total} samples at {rate} Hz: convert it to WAV"
        )
    _check_seconds("FLAC", total / rate)
    return data


def _mp3(data: bytes) -> bytes:
    """Only the audio: a tag may lie about the length, and rubbish be taken for tiny frames."""
    position = 0
    if data.startswith(b"ID3"):
        a, b, c, d = (byte & 0x7F for byte in data[6:10])
        position = 10 + (a << 21 | b << 14 | c << 7 | d)
    frames: list[bytes] = []
    seconds = 0.0
    in_step = False
    while (position := data.find(b"\xff", position)) >= 0:
        length, duration = _mp3_frame(data, position)
        end = position + length
        if not length or end > len(data) or not (in_step or _mp3_frame(data, end)[0]):
            in_step = False
            position += 1
            continue
        if frames or not any(tag in data[position : position + 48] for tag in _MP3_TAGS):
            frames.append(data[position:end])
            seconds += duration
        position, in_step = end, True
    if not frames:
        raise _damaged("MP3", "there is no sound in it")
    _check_seconds("MP3", seconds)
    return b"".join(frames)


_MP3_TAGS = (b"Xing", b"Info", b"VBRI")
_KBITS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
)


def _mp3_frame(data: bytes, position: int) -> tuple[int, float]:
    """The bytes and the seconds of the frame there, 0 if there is none."""
    head = int.from_bytes(data[position : position + 4], "big")
    version, layer, rate_index = head >> 19 & 3, head >> 17 & 3, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer != 1 or rate_index == 3:
        return 0, 0
    is_mpeg_1 = version == 3
    rate = (44100, 48000, 32000)[rate_index] >> (0 if is_mpeg_1 else 1 if version == 2 else 2)
    bits = 1000 * _KBITS[is_mpeg_1][head >> 12 & 15]
    samples = 1152 if is_mpeg_1 else 576
    length = samples // 8 * bits // rate + (head >> 9 & 1) if bits else 0
    return length, samples / rate
