"""Images and sounds made on the spot, as arrays and as files."""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 16000
"""Samples per second that Whisper's encoder takes."""

Pixels = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]


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


def bmp(rgb: Pixels) -> bytes:
    height, width, _ = rgb.shape
    padding = bytes(-3 * width % 4)
    rows = b"".join(row[:, ::-1].tobytes() + padding for row in rgb[::-1])
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0)
    return struct.pack("<2sIII", b"BM", 54 + len(rows), 0, 54) + info + rows


def gif(grey: int, height: int = 24, width: int = 40) -> bytes:
    """An image of one shade."""
    palette = bytes(2 * shade for shade in range(128) for _ in range(3))
    codes: list[int] = []
    for index in range(height * width):
        # Without compression: a table that is emptied again and again never grows.
        codes += [128, grey // 2] if index % 100 == 0 else [grey // 2]
    bits = sum(code << 8 * index for index, code in enumerate([*codes, 129]))
    packed = bits.to_bytes(len(codes) + 1, "little")
    blocks = b"".join(
        bytes([len(packed[i : i + 255])]) + packed[i : i + 255] for i in range(0, len(packed), 255)
    )
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF6, 0, 0) + palette
    return head + struct.pack("<cHHHHBB", b",", 0, 0, width, height, 0, 7) + blocks + b"\0;"


def flac(samples: npt.NDArray[np.int16], rate: int = RATE, total: int | None = None) -> bytes:
    """One frame of one channel, without compression; ``total`` is what the file claims to have."""
    size = samples.size
    packed = rate << 44 | 15 << 36 | (size if total is None else total)
    info = struct.pack(">HH6xQ16x", size, size, packed)
    head = b"\xff\xf8\x70\x08\0" + struct.pack(">H", size - 1)
    head += bytes([_crc(head, 8, 0x07)])
    frame = head + b"\x02" + samples.astype(">i2").tobytes()
    frame += struct.pack(">H", _crc(frame, 16, 0x8005))
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info + frame


def _crc(data: bytes, width: int, polynomial: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << width - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> width - 1 else 0)
            value &= (1 << width) - 1
    return value


def uri(file: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(file).decode()}"


def image_part(file: bytes) -> dict[str, Any]:
    """An image as OpenAI's messages have it."""
    return {"type": "image_url", "image_url": {"url": uri(file)}}


def audio_part(file: bytes, kind: str = "wav") -> dict[str, Any]:
    """A sound as OpenAI's messages have it."""
    data = base64.b64encode(file).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": kind}}


def wav(samples: npt.NDArray[np.int16], rate: int = RATE) -> bytes:
    """From an array of shape (frames, channels)."""
    content = io.BytesIO()
    with wave.open(content, "wb") as writer:
        writer.setparams((samples.shape[1], 2, rate, 0, "NONE", "not compressed"))
        writer.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()
