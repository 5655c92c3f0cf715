"""From the parts of messages to the bytes of images and sounds.

Only what a message itself carries is read, unless the caller allows more: a URL in a message may
come from anybody, and what this process can reach may not be meant for them.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from ...errors import MediaError

BYTES_MAX = 20 << 20
_AUDIO_FORMATS = ("wav", "mp3", "flac")


@dataclass(frozen=True)
class MediaLoader:
    """Reads the images and sounds that messages carry or name.

    Attributes:
        allow_remote: Whether http and https URLs are fetched, from public addresses only.
        allow_files: Whether paths and file URLs are opened.
        networks: Networks to fetch from besides the public ones, like "10.0.0.0/8".
        bytes_max: How large a file may be.
        timeout: Seconds that one fetch may take.
    """

    allow_remote: bool = False
    allow_files: bool = False
    networks: tuple[str, ...] = ()
    bytes_max: int = BYTES_MAX
    timeout: float = 30.0

    def load_part(self, part: Mapping[str, Any], where: str) -> bytes:
        """Return the file that a part of a message stands for.

        Args:
            part: OpenAI's: of type ``image_url`` or ``input_audio``.
            where: What to call it in errors.

        Raises:
            MediaError: It cannot be had, or is not allowed.
        """
        value = part.get(part["type"])
        try:
            if part["type"] == "input_audio":
                return self._audio(value)
            return self.load_url(value.get("url") if isinstance(value, Mapping) else value)
        except MediaError as error:
            raise MediaError(f"{where}: {error.message}", error.native_log) from error

    def load_url(self, url: Any) -> bytes:
        """Return what a data URI, a URL or a path names.

        Raises:
            MediaError: It cannot be had, or is not allowed.
        """
        if not isinstance(url, str) or not url:
            raise MediaError(f'an image is {{"url": "data:image/png;base64,..."}}, not {url!r}')
        if url[:5].lower() == "data:":
            return self._data(url)
        scheme = url.partition(":")[0].lower() if "://" in url else ""
        if scheme in ("http", "https"):
            if not self.allow_remote:
                raise MediaError(
                    f"{_short(url)} is not fetched: send the file as a data URI "
                    "(data:image/png;base64,...), or create the handler with allow_remote=True"
                )
            from .fetch import Fetcher

            return Fetcher(self.networks, self.bytes_max, self.timeout).fetch(url)
        if scheme not in ("", "file"):
            raise MediaError(f"{_short(url)} has the scheme {scheme!r}: use data, http or https")
        if not self.allow_files:
            raise MediaError(
                f"the file {_short(url)} is not opened: send it as a data URI "
                "(data:image/png;base64,...), or create the handler with allow_files=True"
            )
        return self._file(url if not scheme else _path_of(url))

    def _audio(self, value: Any) -> bytes:
        if not isinstance(value, Mapping) or not isinstance(value.get("data"), str):
            raise MediaError(f'a sound is {{"data": "<base64>", "format": "wav"}}, not {value!r}')
        if value.get("format", "wav") not in _AUDIO_FORMATS:
            formats = ", ".join(_AUDIO_FORMATS)
            raise MediaError(f"the format {value['format']!r} is none of {formats}")
        data: str = value["data"]
        return self._data(data) if data[:5].lower() == "data:" else self._decoded(data)

    def _data(self, uri: str) -> bytes:
        head, comma, body = uri.partition(",")
        if not comma:
            raise MediaError("the data URI has no comma, and so no data")
        if head.lower().endswith(";base64"):
            return self._decoded(unquote(body) if "%" in body else body)
        return self._checked(unquote_to_bytes(body))

    def _decoded(self, text: str) -> bytes:
        if len(text) * 3 // 4 > self.bytes_max + 3:
            raise self._too_large(len(text) * 3 // 4)
        try:
            # Some break lines, or leave the end out.
            packed = "".join(text.split()).rstrip("=")
            return self._checked(base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True))
        except (binascii.Error, ValueError) as error:
            if isinstance(error, MediaError):
                raise
            raise MediaError(f"the data is not base64: {error}") from None

    def _file(self, path: str) -> bytes:
        try:
            if not os.path.isfile(path):  # a pipe would never end
                raise FileNotFoundError(f"there is no file {_short(path)}")
            with open(path, "rb") as file:
                return self._checked(file.read(self.bytes_max + 1))
        except (OSError, ValueError) as error:
            if isinstance(error, MediaError):
                raise
            raise MediaError(f"{_short(path)} cannot be read: {error}") from None

    def _checked(self, data: bytes) -> bytes:
        if len(data) > self.bytes_max:
            raise self._too_large(len(data))
        return data

    def _too_large(self, size: int) -> MediaError:
        return MediaError(f"the file has {size} bytes or more, at most {self.bytes_max} go")


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise MediaError(f"{_short(url)} is a file of another machine")
    path = unquote(parts.path)
    return path[1:] if os.name == "nt" and path[2:3] == ":" else path


def _short(url: str) -> str:
    return repr(url if len(url) <= 100 else url[:100] + "...")
