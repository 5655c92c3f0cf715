"""``PythonSampler``: a sampler whose callbacks are Python functions."""

from __future__ import annotations

import ctypes
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
        # The callbacks hold this list, not self, which holds them: that would be a cycle.
        self._errors = errors = list[BaseException]()
        encoded_name = name.encode()

        def guarded(function: Callable[..., Any], *arguments: Any) -> None:
            try:
                function(*arguments)
            except BaseException as error:
                errors.append(error)

        def native_apply(_: Any, pointer: Any) -> None:
            candidates = Candidates.borrow(pointer)
            size = len(candidates)
            guarded(apply, candidates)
            # An empty array or an index outside of it would abort the process.
            if not 1 <= candidates.struct.size <= size:
                candidates.struct.size = size
                errors.append(ValueError("a sampler must leave at least one candidate"))
            if not -1 <= candidates.struct.selected < candidates.struct.size:
                candidates.struct.selected = -1
                errors.append(ValueError("a sampler selected an index beyond its candidates"))

        interface = raw.llama_sampler_i()
        interface.name = raw.llama_sampler_i_name(lambda _: encoded_name)
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
        if self._errors:
            error = self._errors[0]
            self._errors.clear()
            raise error
