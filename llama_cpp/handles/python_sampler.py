"""``PythonSampler``: a sampler whose callbacks are Python functions."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from .. import llama_cpp as raw
from .candidates import Candidates


class PythonSampler:
    """The callbacks of a native sampler, and the errors that they raised.

    No exception can cross C: it is kept, and raised after the native call that asked.

    Args:
        apply: Changes the candidates in place.
        accept: Is told each token that was chosen.
        reset: Is called when a new text begins.
        name: What the sampler is called in lists.
    """

    def __init__(
        self,
        apply: Callable[[Candidates], Any],
        accept: Callable[[int], Any] | None = None,
        reset: Callable[[], Any] | None = None,
        name: str = "python",
    ) -> None:
        # By thread: clones may run elsewhere at the same time. The callbacks hold this, not self,
        # which holds them: that would be a cycle.
        self._errors = errors = dict[int, BaseException]()
        self._name = ctypes.create_string_buffer(name.encode())
        address = ctypes.addressof(self._name)

        def guarded(function: Callable[..., Any], *arguments: Any) -> None:
            try:
                function(*arguments)
            except BaseException as error:
                errors.setdefault(threading.get_ident(), error)

        def change(native: raw.llama_token_data_array) -> None:
            candidates = Candidates.copy_of(native)
            changed = None
            try:
                apply(candidates)
                changed = native
            finally:
                candidates.finish(changed)

        def native_apply(_: Any, pointer: Any) -> None:
            guarded(change, pointer.contents)

        interface = raw.llama_sampler_i()
        # A callback that returned bytes would leak them, with a warning at every call.
        native_name = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: address)
        interface.name = ctypes.cast(native_name, raw.llama_sampler_i_name)
        interface.apply = raw.llama_sampler_i_apply(native_apply)
        if accept is not None:
            interface.accept = raw.llama_sampler_i_accept(lambda _, token: guarded(accept, token))
        if reset is not None:
            interface.reset = raw.llama_sampler_i_reset(lambda _: guarded(reset))
        self.interface = interface

    def create(self) -> raw.llama_sampler_p:
        """A native sampler that calls back here; this object must outlive it."""
        pointer = raw.llama_sampler_init(ctypes.byref(self.interface), None)
        assert pointer is not None  # the engine allocates or throws
        return pointer

    def raise_error(self) -> None:
        """Raise the first exception that a callback left behind, if any."""
        error = self._errors.pop(threading.get_ident(), None)
        if error is not None:
            raise error
