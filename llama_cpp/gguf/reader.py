"""Reads a file of GGUF piece by piece, and nothing behind its end."""

from __future__ import annotations

import os
import stat
from struct import Struct
from typing import Any, BinaryIO

from .. import errors

_MAX_STRING_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 20

# The engine reads files in the byte order of the machine, hence "=" and not "<".
U64 = Struct("=Q")


def checked_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Return a path as a text.

    Raises:
        TextError: It has a NUL byte or cannot be encoded.
    """
    try:
        name = os.fsdecode(path)
        os.fsencode(name)
    except UnicodeError as error:
        raise errors.TextError(f"Rename {path!r}: it cannot be encoded: {error}.") from error
    if "\0" in name:
        raise errors.TextError(f"The path {name!r} has a NUL byte, which no path can have.")
    return name


def open_file(name: str) -> BinaryIO:
    """Open a regular file.

    Raises:
        ModelLoadError: There is none, or it cannot be opened.
    """
    try:
        mode = os.stat(name).st_mode
        # Opening a FIFO would wait for a writer, and opening a folder fails differently on Windows.
        if stat.S_ISREG(mode):
            return open(name, "rb")
    except OSError as error:
        raise _os_failure(name, error) from error
    if stat.S_ISDIR(mode):
        raise errors.ModelIsDirectoryError(f"{name!r} is a folder. Pass a .gguf file in it.")
    raise errors.ModelLoadError(f"{name!r} is a device, pipe or socket. Pass a regular file.")


def _os_failure(name: str, error: OSError) -> errors.ModelLoadError:
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        advice = "Check the path; '~' is not expanded."
        if os.path.islink(name):
            advice = "It is a link whose target is missing; download the model again."
        return errors.ModelNotFoundError(f"There is no model file at {name!r}. {advice}")
    if isinstance(error, PermissionError):
        advice = "Give this user read access to the file and its folders."
        return errors.ModelPermissionError(f"{name!r} may not be read: {reason}. {advice}")
    return errors.ModelLoadError(f"{name!r} cannot be read: {reason}. Check the path and disk.")


class FileReader:
    """Reads a file in chunks: under a memory map, a file that gets shorter ends the process."""

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self.size = size
        self.name = name
        self.position = 0
        self._file = file
        self._chunk = b""
        self._chunk_start = 0

    def damaged(self, problem: str) -> errors.ModelLoadError:
        """Make the error of a file that breaks the rules of GGUF."""
        return errors.ModelLoadError(f"{self.name!r} is damaged: {problem}. Download it again.")

    def require(self, count: int, what: str) -> None:
        """Refuse a file that is shorter than it says."""
        if count > self.size - self.position:
            raise errors.TruncatedModelError(
                f"{self.name!r} is cut off or damaged: it has {self.size} bytes, but {what} would"
                f" end at byte {self.position + count}. Download it again."
            )

    def take(self, count: int, what: str) -> bytes:
        """Return the next bytes."""
        start = self._locate(count, what)
        self.position += count
        return self._chunk[start : start + count]

    def unpack(self, layout: Struct, what: str) -> tuple[Any, ...]:
        """Return the next numbers."""
        return layout.unpack(self.take(layout.size, what))

    def string(self, what: str) -> bytes:
        """Return the next string."""
        (length,) = self.unpack(U64, what)
        self._check_string_length(length, what)
        return self.take(length, what)

    def skip(self, count: int, what: str) -> None:
        """Go over bytes without reading them."""
        self.require(count, what)
        self.position += count

    def strings(self, count: int, what: str, *, keep: bool) -> list[bytes]:
        """Go over strings, and return them if they are to be kept."""
        self.require(count * U64.size, what)
        length_at = U64.unpack_from
        kept: list[bytes] = []
        while count:
            # One string with all checks, which brings a chunk; then those that it holds whole. A
            # vocabulary has hundreds of thousands: that loop is most of the time of a header.
            string = self.string(what)
            if keep:
                kept.append(string)
            count -= 1
            chunk, start = self._chunk, self.position - self._chunk_start
            last_start = len(chunk) - U64.size
            while count and start <= last_start:
                (length,) = length_at(chunk, start)
                end = start + 8 + length
                if end > len(chunk):
                    break
                if keep:
                    kept.append(chunk[start + 8 : end])
                start = end
                count -= 1
            self.position = self._chunk_start + start
        return kept

    def _check_string_length(self, length: int, what: str) -> None:
        if length > _MAX_STRING_BYTES:
            raise self.damaged(f"{what} has a string of {length} bytes, 1 GiB is the most")

    def _locate(self, count: int, what: str) -> int:
        """Returns where in the chunk the next ``count`` bytes are, after reading them if needed."""
        self.require(count, what)
        start = self.position - self._chunk_start
        if start + count <= len(self._chunk):
            return start
        try:
            self._file.seek(self.position)
            self._chunk = self._file.read(max(count, _CHUNK_BYTES))
        except OSError as error:
            raise _os_failure(self.name, error) from error
        self._chunk_start = self.position
        if len(self._chunk) < count:  # Something has cut the file since its size was taken.
            self.size = self.position + len(self._chunk)
            self.require(count, what)
        return 0
