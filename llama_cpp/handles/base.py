"""``Handle``: one native object, freed exactly once and never used afterwards.

* A child holds its parent, through the arguments of its finalizer too, so the parent's memory
  outlives the child's. A parent knows its children weakly and closes them before itself.
* Every native call runs under a lease. ``close()`` waits for the leases of other threads, and
  refuses when the calling thread itself holds one (it is inside a callback of that call).
* ``ExclusiveHandle`` lets one thread in at a time, for objects that are not thread-safe.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import BusyError, ClosedError, EngineAssertionError, LlamaError
from ..native.assertions import guarded
from ..native.bind import Pointer

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


_EXIT_WAIT_S = 10.0


def _free(
    free: Callable[[Any], Any] | None,
    pointer: Pointer,
    parent: Handle | None,
    lease_holders: list[int],
    condition: threading.Condition,
    stop: ctypes.c_bool,
) -> None:
    # The parent is an argument to stay alive until this has run.
    with condition:
        if lease_holders:
            # Only at exit: a daemon thread is still inside a native call. The libraries must not
            # be unloaded under it.
            stop.value = True
            condition.wait_for(lambda: not lease_holders, _EXIT_WAIT_S)
        if lease_holders:  # The system frees the memory then, that of the parents too.
            if parent is not None:
                parent._lease_holders.append(lease_holders[0])
            return
    if free is not None:
        free(pointer)


@functools.cache
def _end_daemons_quietly() -> None:
    """See to it that daemon threads which the end of the interpreter stops write no traceback."""

    def hush() -> None:
        report = threading.excepthook

        def unless_stopped(problem: threading.ExceptHookArgs) -> None:
            is_daemon = problem.thread is not None and problem.thread.daemon
            if not (is_daemon and issubclass(problem.exc_type, ClosedError)):
                report(problem)

        threading.excepthook = unless_stopped

    atexit.register(hush)


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
        self._children: weakref.WeakValueDictionary[int, Handle] = weakref.WeakValueDictionary()
        self._condition = threading.Condition(threading.Lock())
        self._lease_holders: list[int] = []
        self._freeing = self._freed = False
        self._assertion = ""
        self._stop = ctypes.c_bool(False)  # asks calls that are running to return early
        self._finalizer = weakref.finalize(
            self, _free, free, pointer, parent, self._lease_holders, self._condition, self._stop
        )
        _end_daemons_quietly()  # registered after the finalizers, so that it runs before them
        if parent is not None:
            parent._adopt(self)

    @property
    def pointer(self) -> Any:
        """The typed address, for raw calls. Do not keep it beyond the handle.

        Raises:
            ClosedError: The handle is closed.
        """
        if self._pointer is None or self._gone_at_exit:
            raise self._closed_error()
        return self._pointer

    _as_parameter_ = pointer  # a handle can be passed to raw functions as it is

    @property
    def closed(self) -> bool:
        """Whether ``close()`` has been called, here or on a parent."""
        return self._pointer is None or self._gone_at_exit

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
        if self._freed or self._gone_at_exit:
            return
        self._refuse_own_leases()
        self._close_children()
        with self._condition:
            self._refuse_own_leases()
            self._pointer = None  # new leases are refused from here on
            self._stop.value = True
            while self._lease_holders:
                self._condition.wait()
        self._close_children()  # those that other threads were creating meanwhile
        self._release_native()

    @property
    def _gone_at_exit(self) -> bool:
        """Whether the interpreter has freed the native object because it is ending."""
        return not (self._finalizer.alive or self._freeing)

    def _release_native(self) -> None:
        with self._condition:
            if self._freeing:  # another thread closes the handle too
                while not self._freed:
                    self._condition.wait()
                return
            self._freeing = True
        self._finalizer()
        with self._condition:
            self._freed = True
            self._condition.notify_all()
        if self._parent is not None:
            self._parent._children.pop(id(self), None)
        self._parent = None

    def _disown(self) -> Any:
        """Give the native object up without freeing it; the handle counts as closed."""
        with self._condition:
            self._refuse_own_leases()
            pointer = self.pointer
            self._pointer = None
            while self._lease_holders:
                self._condition.wait()
            self._finalizer.detach()
            self._freeing = self._freed = True
        return pointer

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call ``function(pointer, *arguments)`` under a lease.

        Args:
            function: A raw function whose first parameter is this kind of pointer.
            *arguments: Its other arguments, which nothing checks.

        Raises:
            ClosedError: The handle is closed.
        """
        pointer = self.acquire()
        try:
            return function(pointer, *arguments)
        finally:
            self.release()

    def guarded(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a raw function under the caller's lease; an assertion in it is an exception.

        Args:
            function: One that ``native.assertions`` can guard.
            *arguments: All of them.

        Raises:
            EngineAssertionError: The engine asserted. The handle is closed.
        """
        try:
            result: T = guarded(function)(*arguments)
            return result
        except EngineAssertionError as error:
            self._abandon(error.assertion)
            raise

    def _abandon(self, assertion: str) -> None:
        """Close without freeing: the native object is in a state that nobody knows."""
        for child in self._living_children():
            child._abandon(assertion)
        with self._condition:
            self._pointer, self._assertion = None, assertion
            self._finalizer.detach()
            self._freeing = self._freed = True

    def _adopt(self, child: Handle) -> None:
        """Close the child before this handle."""
        self._children[id(child)] = child

    def _living_children(self) -> list[Handle]:
        # A copy, because other threads may add and drop children meanwhile.
        return [child for ref in self._children.valuerefs() if (child := ref()) is not None]

    def _close_children(self) -> None:
        for child in self._living_children():
            child.close()

    def _refuse_own_leases(self) -> None:
        if self._is_leased_by(threading.get_ident()):
            raise BusyError(
                f"this {type(self).__name__} is running a native call on the calling thread: it "
                "cannot be closed from a callback of that call. Close it after the call returns."
            )

    def _is_leased_by(self, thread: int) -> bool:
        return thread in self._lease_holders or any(
            child._is_leased_by(thread) for child in self._living_children()
        )

    def _closed_error(self) -> ClosedError:
        reason = "it was closed itself or with its parent"
        if self._assertion:
            reason = f"the engine failed in it ({self._assertion})"
        return ClosedError(f"this {type(self).__name__} is closed: {reason}. Create a new one.")

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
        state = "closed" if self.closed or self._pointer is None else f"{int(self._pointer):#x}"
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
