"""Functions of the engine in which an assertion is an exception, instead of the process's end."""

from __future__ import annotations

import ctypes
from typing import Any

from ..errors import LlamaError
from .backend import bridge, failed, start_backend, take_string
from .bind import Function

_guards: dict[str, Any] = {}


def guarded(function: Any) -> Any:
    """Return a raw function as one that raises where the engine asserts.

    That works on the thread that calls it, as long as it computes no graph (bridge/assertions.cpp).
    What the call worked on is in a state that nobody knows then: use ``Handle.guarded``.

    Args:
        function: A function of libllama or libmtmd that the bridge has an entry for.

    Raises:
        EngineAssertionError: From the function that is returned.
        LlamaError: The bridge has no entry for it.
    """
    guard = _guards.get(function.__name__)
    if guard is None:
        if not isinstance(function, Function):  # the stub for one that the build lacks
            return function
        guard = _guards[function.__name__] = _guard(function)
    return guard


def _guard(function: Any) -> Any:
    start_backend()
    address = bridge("bridge_guarded")(
        function.__name__.encode(), ctypes.cast(function, ctypes.c_void_p)
    )
    if address is None:
        raise LlamaError(f"{function.__name__} has no entry in bridge/assertions.cpp")
    take_assertion = bridge("bridge_take_assertion")
    earlier = getattr(function, "errcheck", None)

    def errcheck(result: Any, called: Any, arguments: tuple[Any, ...]) -> Any:
        assertion = take_assertion()
        if assertion:
            raise failed(take_string(ctypes.c_char_p(assertion)))
        return earlier(result, called, arguments) if earlier else result

    guard = type(function)(address)
    guard.__name__, guard._declared = function.__name__, function._declared
    guard.argtypes, guard.restype, guard.errcheck = function.argtypes, function.restype, errcheck
    return guard
