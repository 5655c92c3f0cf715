"""A diskcache store that holds bytes and refuses everything else.

diskcache unpickles what it reads in other modes, so that whoever writes to the folder could run
code in every process that reads it (CVE-2025-69872).
"""

from __future__ import annotations

import os
import re
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import diskcache

from ..errors import InvalidArgumentError, StateError

_MODE_RAW, _MODE_BINARY = 1, 2
_PATIENCE = 5.0
"""Seconds to wait for another process that is writing."""

_HEAD = struct.Struct("<4s16sI")
_MAGIC = b"llm2"
_OWN_FILE = re.compile(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]+\.val")
_UNKNOWN = bytes(16)


class Key(NamedTuple):
    """What an entry is stored under.

    Attributes:
        model: The fingerprint of the model, empty if it is not known.
        ends: After how many tokens a memory that cannot forget may go on from the state.
        tokens: All of them.
    """

    model: bytes
    ends: tuple[int, ...]
    tokens: tuple[int, ...]

    def pack(self) -> bytes:
        """Write it."""
        numbers = (*self.ends, *self.tokens)
        head = _HEAD.pack(_MAGIC, self.model or _UNKNOWN, len(self.ends))
        return head + struct.pack(f"<{len(numbers)}i", *numbers)

    @classmethod
    def unpack(cls, data: bytes) -> Key:
        """Read what ``pack`` wrote.

        Raises:
            StateError: Somebody else has written it.
        """
        if not data.startswith(_MAGIC) or len(data) < _HEAD.size or (len(data) - _HEAD.size) % 4:
            raise foreign_entries()
        _, model, n_ends = _HEAD.unpack_from(data)
        numbers = struct.unpack(f"<{(len(data) - _HEAD.size) // 4}i", data[_HEAD.size :])
        ends, tokens = numbers[:n_ends], numbers[n_ends:]
        if any(not 0 < end <= len(tokens) for end in ends):
            raise foreign_entries()
        return cls(b"" if model == _UNKNOWN else model, ends, tokens)


class BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """Stores bytes under bytes."""

    def put(self, key: object) -> tuple[Any, bool]:
        """Turn a key into what the database holds."""
        return sqlite3.Binary(_checked(key)), True

    def get(self, key: object, raw: bool) -> bytes:
        """Turn what the database holds into a key."""
        if not raw:
            raise foreign_entries()
        return bytes(_checked(key))

    def store(self, value: object, read: bool, key: object = diskcache.UNKNOWN) -> Any:
        """Write a value."""
        value = _checked(value)
        if len(value) < self.min_file_size:
            return super().store(value, False, key=key)
        # diskcache itself would write a large value line by line.
        filename, path = self.filename(key, value)
        self._write(path, iter([value]), "xb")
        return len(value), _MODE_BINARY, filename, None

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        """Read a value."""
        if mode not in (_MODE_RAW, _MODE_BINARY):
            raise foreign_entries()
        if mode == _MODE_BINARY and not _OWN_FILE.fullmatch(str(filename)):
            raise foreign_entries()
        return bytes(_checked(super().fetch(mode, filename, value, False)))

    def remove(self, file_path: str) -> None:
        """Delete the file of a value, and no other one that the database may name."""
        if _OWN_FILE.fullmatch(str(file_path)):
            super().remove(file_path)


@contextmanager
def usable() -> Iterator[None]:
    """Turn what the file system and the database raise into ``StateError``."""
    try:
        yield
    except (OSError, sqlite3.Error, diskcache.Timeout) as error:
        raise StateError(
            f"the cache folder cannot be used: {str(error) or type(error).__name__}. It must be on "
            "a disk with room, and this process must be allowed to write there"
        ) from error


def open_cache(folder: str, size_limit: int) -> Any:
    """Open the store, which ``make_room`` keeps within its limit.

    Raises:
        StateError: The folder cannot be made, or not be written to.
    """
    if not isinstance(folder, str | bytes | os.PathLike) or "\0" in os.fsdecode(folder):
        raise InvalidArgumentError(f"cache_dir={folder!r} must be the path of a folder")
    folder = os.fsdecode(folder)
    with usable():
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return diskcache.Cache(
            folder,
            timeout=_PATIENCE,
            disk=BytesDisk,
            size_limit=size_limit,
            eviction_policy="least-recently-used",
            cull_limit=0,
        )


def read(cache: Any, key: bytes) -> bytes | None:
    """Return a value, None if it is not there."""
    value = cache.get(key)
    return None if value is None else bytes(value)


Row = tuple[int, bytes]


def keys_after(cache: Any, row: Row | None) -> tuple[Row | None, list[bytes]]:
    """Return the last row and the keys behind one that was the last; all if it is not there."""
    last = _rows(cache, "ORDER BY rowid DESC LIMIT 1")
    if not last or last[0] == row:
        return (row if last else None), []
    number = 0 if row is None else row[0]
    if row is not None and _rows(cache, "WHERE rowid = ?", number) != [row]:
        number = 0
    found = _rows(cache, "WHERE rowid > ? ORDER BY rowid", number)
    return (found[-1] if found else None), [key for _, key in found]


def _rows(cache: Any, where: str, *arguments: int) -> list[Row]:
    found = cache._sql(f"SELECT rowid, key, raw FROM Cache {where}", arguments).fetchall()
    return [(number, cache._disk.get(key, bool(raw))) for number, key, raw in found]


def make_room(cache: Any) -> list[bytes]:
    """Drop the entries used longest ago, one by one, and return their keys.

    diskcache by itself drops ten at a time, which may be all there are.
    """
    dropped: list[bytes] = []
    while cache.volume() > cache.size_limit and len(cache):
        with cache._transact() as (sql, cleanup):
            ((oldest,),) = sql("SELECT key FROM Cache ORDER BY access_time LIMIT 1").fetchall()
            dropped.append(bytes(oldest))
            cache._cull(time.time(), sql, cleanup, limit=1)
    return dropped


def _checked(value: object) -> bytes:
    if isinstance(value, memoryview):
        value = bytes(value)
    if not isinstance(value, bytes):
        raise foreign_entries()
    return value


def foreign_entries() -> StateError:
    """Make the error of a folder that others write to."""
    return StateError("the cache folder holds entries that are not this package's: choose another")
