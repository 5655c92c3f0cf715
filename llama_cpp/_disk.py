"""A diskcache store that holds bytes and refuses everything else.

diskcache unpickles what it reads in other modes, so that whoever writes to the folder could run
code in every process that reads it (CVE-2025-69872).
"""

from __future__ import annotations

import sqlite3
from typing import Any

import diskcache

from .errors import StateError

_MODE_RAW, _MODE_BINARY = 1, 2


class BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """Stores bytes under bytes."""

    def put(self, key: object) -> tuple[Any, bool]:
        """Turn a key into what the database holds."""
        return sqlite3.Binary(_checked(key)), True

    def get(self, key: object, raw: bool) -> bytes:
        """Turn what the database holds into a key."""
        if not raw:
            raise _foreign()
        return bytes(_checked(key))

    def store(self, value: object, read: bool, key: object = diskcache.UNKNOWN) -> Any:
        """Write a value."""
        return super().store(_checked(value), False, key=key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        """Read a value."""
        if mode not in (_MODE_RAW, _MODE_BINARY):
            raise _foreign()
        return bytes(_checked(super().fetch(mode, filename, value, False)))


def open_cache(folder: str, size_limit: int, disk: type[BytesDisk]) -> Any:
    """Open the store; the entries used longest ago go first."""
    return diskcache.Cache(
        folder, disk=disk, size_limit=size_limit, eviction_policy="least-recently-used"
    )


def _checked(value: object) -> bytes:
    if isinstance(value, memoryview):
        value = bytes(value)
    if not isinstance(value, bytes):
        raise _foreign()
    return value


def _foreign() -> StateError:
    return StateError("the cache folder holds entries that are not this package's: choose another")
