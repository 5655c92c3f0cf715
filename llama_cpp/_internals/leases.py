"""Calls of raw functions that no handle has a method for."""

from __future__ import annotations

from typing import Any

from ..handles import Handle


def call(handle: Handle, function: Any, *arguments: Any) -> Any:
    """Call ``function(pointer, *arguments)`` while no other thread can close the handle.

    Raises:
        ClosedError: The handle is closed.
    """
    pointer = handle.acquire()
    try:
        return function(pointer, *arguments)
    finally:
        handle.release()
