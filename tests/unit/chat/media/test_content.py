"""From the parts of messages to files: what a message carries, and what the caller allows."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from media_bytes import audio_part, image_part, noise, png, uri

from llama_cpp.chat.media.content import MediaLoader
from llama_cpp.errors import MediaError

FILE = png(noise(1))
PACKED = base64.b64encode(FILE).decode()


@pytest.mark.parametrize(
    "part",
    [
        image_part(FILE),
        {"type": "image_url", "image_url": uri(FILE)},
        {"type": "image_url", "image_url": {"url": uri(FILE), "detail": "low"}},
        {"type": "image_url", "image_url": "data:;base64," + PACKED},
        {"type": "image_url", "image_url": "DATA:image/png;BASE64," + PACKED},
        {"type": "image_url", "image_url": uri(FILE).rstrip("=")},
        {"type": "image_url", "image_url": uri(FILE).replace("+", "%2B").replace("=", "%3D")},
        {"type": "image_url", "image_url": f"data:;base64,\n{PACKED[:40]}\n{PACKED[40:]}"},
        {"type": "image_url", "image_url": "data:image/png," + "".join(f"%{b:02x}" for b in FILE)},
        audio_part(FILE),
        audio_part(FILE, "mp3"),
        {"type": "input_audio", "input_audio": {"data": uri(FILE), "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": PACKED}},
    ],
)  # fmt: skip
def test_what_a_message_carries_is_read(part: dict[str, Any]) -> None:
    assert MediaLoader().load_part(part, "here") == FILE


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "not None"),
        ({}, "not None"),
        ({"url": 5}, "not 5"),
        ("", "not ''"),
        ("data:image/png;base64", "no comma"),
        ("data:image/png;base64,@@@@", "not base64"),
        ("data:image/png;base64,\ud800", "not base64"),
        ("ftp://example.com/a.png", "scheme 'ftp'"),
        ("gopher://127.0.0.1/", "scheme 'gopher'"),
        ("http://example.com/a.png", "allow_remote=True"),
        ("HTTPS://example.com/a.png", "allow_remote=True"),
        ("file:///etc/passwd", "allow_files=True"),
        ("/etc/passwd", "allow_files=True"),
        ("C:\\pictures\\a.png", "allow_files=True"),
        (PACKED, "allow_files=True"),
    ],
)
def test_what_is_not_allowed_is_said(value: Any, what: str) -> None:
    with pytest.raises(MediaError, match=what) as caught:
        MediaLoader().load_part({"type": "image_url", "image_url": value}, "messages[0].content[1]")
    assert str(caught.value).startswith("messages[0].content[1]: ")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "value", [None, "x", {}, {"data": 5}, {"data": b"x"}, {"data": PACKED, "format": "ogg"}]
)
def test_sounds_of_another_shape_are_refused(value: Any) -> None:
    with pytest.raises(MediaError, match=r"a sound is|is none of wav, mp3, flac"):
        MediaLoader().load_part({"type": "input_audio", "input_audio": value}, "here")


def test_large_files_are_refused(tmp_path: Path) -> None:
    loader = MediaLoader(allow_files=True, bytes_max=len(FILE) - 1)
    path = tmp_path / "a.png"
    path.write_bytes(FILE)
    percents = "data:," + "".join(f"%{byte:02x}" for byte in FILE)
    for url in (uri(FILE), percents, str(path), "data:;base64," + "A" * 10**6):
        with pytest.raises(MediaError, match=f"at most {len(FILE) - 1} go"):
            loader.load_url(url)
    assert MediaLoader(bytes_max=len(FILE)).load_url(uri(FILE)) == FILE


@pytest.mark.parametrize("name", [str, Path.as_uri])
def test_files_are_opened_where_they_are_allowed(
    name: Callable[[Path], str], tmp_path: Path
) -> None:
    path = tmp_path / "a picture%20.png"
    path.write_bytes(FILE)
    assert MediaLoader(allow_files=True).load_url(name(path)) == FILE


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name in (tmp_path, tmp_path / "none", pipe, "\0", "file://elsewhere/etc/passwd"):
        with pytest.raises(MediaError, match=r"cannot be read|another machine"):
            MediaLoader(allow_files=True).load_url(str(name))
