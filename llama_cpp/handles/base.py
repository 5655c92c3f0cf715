"""``Handle``: one native object, freed exactly once and never used afterwards.

* A child holds its parent, through the arguments of its finalizer too, so the parent's memory
  outlives the child's. A parent knows its children weakly and closes them before itself.
* Every native call runs under a lease. ``close()`` waits for the leases of other threads, and
  refuses when the calling thread itself holds one (it is inside a callback of that call).
* ``ExclusiveHandle`` lets one thread in at a time, for objects that are not thread-safe.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from typing_extensions import Self

from ..errors import BusyError, ClosedError, LlamaError
from ..native.bind import Pointer


def _free(free: Callable[[Any], Any] | None, pointer: Pointer, parent: Handle | None) -> None:
    # The parent is an argument only to stay alive until this has run.
    if free is not None:
        free(pointer)


class Handle:
    """Owns a native object, or borrows one that its parent owns.

    Args:
        pointer: The native object.
        free: The function that frees it; None when the parent does.
        parent: The handle whose native object this one depends on.
    """

    def __init__(
        self,
        pointer: Pointer | None,
        free: Callable[[Any], Any] | None = None,
        parent: Handle | None = None,
    ) -> None:
        if pointer is None:
            raise LlamaError(f"the engine gave no {type(self).__name__}")
        self._pointer: Pointer | None = pointer
        self._parent = parent
        self._children: weakref.WeakSet[Handle] = weakref.WeakSet()
        self._finalizer = weakref.finalize(self, _free, free, pointer, parent)
        self._condition = threading.Condition(threading.Lock())
        self._lease_holders: list[int] = []
        if parent is not None:
            parent._children.add(self)

    @property
    def pointer(self) -> Any:
        """The typed address, for raw calls. Do not keep it beyond the handle.

        Raises:
            ClosedError: The handle is closed.
        """
        if self._pointer is None:
            raise self._closed_error()
        return self._pointer

    _as_parameter_ = pointer  # a handle can be passed to raw functions as it is

    @property
    def closed(self) -> bool:
        """Whether ``close()`` has been called, here or on a parent."""
        return self._pointer is None

    def acquire(self) -> Any:
        """Take a lease and return the pointer; ``release()`` must follow.

        Raises:
            ClosedError: The handle is closed.
        """
        with self._condition:
            pointer = self.pointer
            self._lease_holders.append(threading.get_ident())
            return pointer

    def release(self) -> None:
        """Give a lease back."""
        with self._condition:
            self._lease_holders.remove(threading.get_ident())
            self._condition.notify_all()

    def close(self) -> None:
        """Free the native object, after its children. Closing twice does nothing.

        It waits for calls that other threads have running on the handle.

        Raises:
            BusyError: The calling thread is inside a native call on this handle.
        """
        if self._pointer is None:
            return
        self._refuse_own_leases()
        for child in list(self._children):
            child.close()
        with self._condition:
            self._refuse_own_leases()
            self._pointer = None  # new leases are refused from here on
            self._interrupt()
            while self._lease_holders:
                self._condition.wait()
        self._release_native()

    def _release_native(self) -> None:
        self._finalizer()
        if self._parent is not None:
            self._parent._children.discard(self)
        self._parent = None

    def _disown(self) -> Any:
        """Give the native object up without freeing it; the handle counts as closed."""
        pointer = self.pointer
        self._finalizer.detach()
        self._pointer = None
        return pointer

    def _interrupt(self) -> None:
        """Ask calls that are running on the handle to return early."""

    def _refuse_own_leases(self) -> None:
        me = threading.get_ident()
        if me in self._lease_holders or any(me in c._lease_holders for c in self._children):
            raise BusyError(
                f"this {type(self).__name__} is running a native call on the calling thread: it "
                "cannot be closed from a callback of that call. Close it after the call returns."
            )

    def _closed_error(self) -> ClosedError:
        return ClosedError(
            f"this {type(self).__name__} is closed: it was closed itself or with its parent. "
            "Create a new one."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._pointer is None else f"{int(self._pointer):#x}"
        return f"<{type(self).__name__} {state}>"


class ExclusiveHandle(Handle):
    """A handle that one thread at a time may use; the others wait for their turn."""

    def acquire(self) -> Any:
        """Wait for the handle, take it and return the pointer; ``release()`` must follow.

        Raises:
            ClosedError: The handle is closed, or was closed while waiting.
            BusyError: The calling thread holds it already, so it would wait for itself.
        """
        me = threading.get_ident()
        with self._condition:
            while self._lease_holders:
                if me in self._lease_holders:
                    raise BusyError(
                        f"this {type(self).__name__} is running a native call on the calling "
                        "thread: it cannot be used from a callback of that call."
                    )
                self._condition.wait()
            pointer = self.pointer
            self._lease_holders.append(me)
            return pointer
