"""A diskcache store that holds bytes and refuses everything else.

diskcache unpickles what it reads in other modes, so that whoever writes to the folder could run
code in every process that reads it (CVE-2025-69872).
"""

from __future__ import annotations

import sqlite3
import time
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
            raise foreign_entries()
        return bytes(_checked(key))

    def store(self, value: object, read: bool, key: object = diskcache.UNKNOWN) -> Any:
        """Write a value."""
        return super().store(_checked(value), False, key=key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        """Read a value."""
        if mode not in (_MODE_RAW, _MODE_BINARY):
            raise foreign_entries()
        return bytes(_checked(super().fetch(mode, filename, value, False)))


def open_cache(folder: str, size_limit: int, disk: type[BytesDisk]) -> Any:
    """Open the store, which ``make_room`` keeps within its limit."""
    return diskcache.Cache(
        folder,
        disk=disk,
        size_limit=size_limit,
        eviction_policy="least-recently-used",
        cull_limit=0,
    )


def make_room(cache: Any) -> None:
    """Drop the entries used longest ago, one by one.

    diskcache by itself drops ten at a time, which may be all there are.
    """
    while cache.volume() > cache.size_limit and len(cache):
        with cache._transact() as (sql, cleanup):
            cache._cull(time.time(), sql, cleanup, limit=1)


def _checked(value: object) -> bytes:
    if isinstance(value, memoryview):
        value = bytes(value)
    if not isinstance(value, bytes):
        raise foreign_entries()
    return value


def foreign_entries() -> StateError:
    """Make the error of a folder that others write to."""
    return StateError("the cache folder holds entries that are not this package's: choose another")
