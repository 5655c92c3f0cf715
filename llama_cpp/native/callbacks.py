"""Callbacks that native code calls later: they live for as long as it may do so.

ctypes frees the code of a callback with its Python object, and a call of it then ends the process.
What native code stores is therefore kept here, by the native object that it was stored for, until
something else takes its place or that object is freed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

_CFuncPtr: type = ctypes._CFuncPtr  # type: ignore[attr-defined]


class CallbackParameter:
    """A parameter that takes a function pointer of one type, its address, or NULL."""

    def __init__(self, function_type: Any) -> None:
        self.function_type = function_type

    def from_param(self, value: Any) -> Any:
        """Convert an argument for ctypes, which calls this."""
        if value is None or isinstance(value, self.function_type):
            return value
        if isinstance(value, _CFuncPtr | ctypes.c_void_p):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return ctypes.c_void_p(value)
        if callable(value):
            raise TypeError(
                "expected a ctypes function pointer, got a Python function: wrap it in the "
                "callback type"
            )
        raise TypeError(f"expected a ctypes function pointer or None, got {value!r}")


_PROCESS = 0
# The owner's address -> what it was stored by -> what holds it.
_kept: dict[int, dict[Any, Any]] = {}

# These are done with their callbacks when they return.
_CALLED_AT_ONCE = frozenset((
    "ggml_backend_compare_graph_backend", "ggml_opt_epoch", "ggml_opt_fit",
    "gguf_init_from_callback", "llama_load_model_from_file", "llama_model_init_from_user",
    "llama_model_load_from_file", "llama_model_load_from_file_ptr",
    "llama_model_load_from_splits", "llama_opt_epoch", "mtmd_helper_decode_image_chunk",
))  # fmt: skip

# Is told the result of a call, and its arguments.
_Rule = Callable[[Any, tuple[Any, ...]], None]


def keep_callbacks(function: Any, name: str, argtypes: Sequence[Any]) -> None:
    """Have a function keep alive what it gives native code to call later, or let go of it."""
    rule = _rule_of(name, argtypes)
    if rule is None:
        return
    earlier = getattr(function, "errcheck", None)

    def errcheck(result: Any, called: Any, arguments: tuple[Any, ...]) -> Any:
        result = earlier(result, called, arguments) if earlier else result
        rule(result, arguments)
        return result

    function.errcheck = errcheck


def _rule_of(name: str, argtypes: Sequence[Any]) -> _Rule | None:
    if name.endswith("_free") or name == "ggml_reset":
        return _let_go
    if name in _CALLED_AT_ONCE:
        return None
    if name in _OF_SAMPLERS:
        return _OF_SAMPLERS[name]
    index = next((i for i, each in enumerate(argtypes) if type(each) is CallbackParameter), None)
    if index is not None and "_set" in name:
        return _setter(name, index)
    if index is not None and "custom" in name:
        return _add_operation
    if index is not None:
        return _keep_for_result
    if any(_has_callback(each) for each in argtypes):
        return _keep_of_structs
    return None


def _has_callback(argtype: Any) -> bool:
    if not (isinstance(argtype, type) and issubclass(argtype, ctypes.Structure)):
        return False
    kinds = (field[1] for field in argtype._fields_)
    return any(isinstance(kind, type) and issubclass(kind, _CFuncPtr) for kind in kinds)


def _store(owner: Any, key: Any, holder: Any) -> None:
    _kept.setdefault(int(owner or _PROCESS), {})[key] = holder


def _let_go(result: Any, arguments: tuple[Any, ...]) -> None:
    owner = arguments[0] if arguments else None
    if isinstance(owner, int):
        _kept.pop(owner, None)


def _setter(name: str, index: int) -> _Rule:
    def keep(result: Any, arguments: tuple[Any, ...]) -> None:
        owner = int(arguments[0]) if index else _PROCESS
        before = _kept.get(owner, {}).pop(name, None)
        if arguments[index]:
            _store(owner, name, arguments)
        if isinstance(result, _CFuncPtr):  # the one before, which may be set again
            result.__dict__["kept"] = before

    return keep


def _keep_for_result(result: Any, arguments: tuple[Any, ...]) -> None:
    if result:
        _store(result, "made with", arguments)


def _add_operation(result: Any, arguments: tuple[Any, ...]) -> None:
    # An operation of a graph is a part of the ggml context.
    operations = _kept.setdefault(int(arguments[0]), {}).setdefault("operations", [])
    operations.append(arguments)


def _keep_of_structs(result: Any, arguments: tuple[Any, ...]) -> None:
    # Not the structs: they may be changed, and passed again.
    structs = (each for each in arguments if isinstance(each, ctypes.Structure))
    holders = [dict(each._objects) for each in structs if each._objects]
    owner = arguments[0] if result is None else result
    if holders and owner:
        _store(owner, "made with", holders)


def _add_to_chain(result: Any, arguments: tuple[Any, ...]) -> None:
    # A chain frees its samplers.
    if (kept := _kept.pop(int(arguments[1]), None)) is not None:
        _store(arguments[0], int(arguments[1]), kept)


def _remove_from_chain(result: Any, arguments: tuple[Any, ...]) -> None:
    if result and (kept := _kept.get(int(arguments[0]), {}).pop(int(result), None)) is not None:
        _kept[int(result)] = kept


_OF_SAMPLERS: dict[str, _Rule] = {
    "llama_sampler_init": _keep_for_result,
    "llama_sampler_chain_add": _add_to_chain,
    "llama_sampler_chain_remove": _remove_from_chain,
}
