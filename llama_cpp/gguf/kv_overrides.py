"""Metadata that takes the place of a file's: ``kv_overrides``, as the engine reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError
from ..validation import native_arguments as checks
from ..validation.numbers import integer, plain
from .header import GGUFHeader


def override_array(overrides: Mapping[str, bool | int | float | str]) -> Any:
    """Fill in an array of ``llama_model_kv_override``.

    Raises:
        InvalidArgumentError: A key or a value is none that the engine takes.
    """
    if not isinstance(overrides, Mapping):
        raise InvalidArgumentError(f"kv_overrides={overrides!r} must map keys to values")
    # The engine reads up to an entry with an empty key.
    array = (raw.llama_model_kv_override * (len(overrides) + 1))()
    for entry, (key, value) in zip(array, overrides.items(), strict=False):
        name = key.encode() if isinstance(key, str) else b""
        if not name or len(name) > 127:
            raise InvalidArgumentError(f"kv_overrides: the key {key!r} must have 1 to 127 bytes")
        entry.key = name
        value = plain(value)
        if isinstance(value, bool):
            entry.tag, entry.val_bool = raw.LLAMA_KV_OVERRIDE_TYPE_BOOL, value
        elif isinstance(value, int):
            entry.tag = raw.LLAMA_KV_OVERRIDE_TYPE_INT
            entry.val_i64 = integer(f"kv_overrides[{key!r}]", value, -(2**63), 2**63 - 1)
        elif isinstance(value, float):
            entry.tag, entry.val_f64 = raw.LLAMA_KV_OVERRIDE_TYPE_FLOAT, value
        elif isinstance(value, str) and len(value.encode()) <= 127:
            entry.tag, entry.val_str = raw.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()
        else:
            raise InvalidArgumentError(
                f"kv_overrides[{key!r}]={value!r} must be a bool, an int, a float or a text of at "
                "most 127 bytes"
            )
    return array


_VALUES: Mapping[int, tuple[str, str]] = {
    raw.LLAMA_KV_OVERRIDE_TYPE_INT: ("int", "val_i64"),
    raw.LLAMA_KV_OVERRIDE_TYPE_FLOAT: ("float", "val_f64"),
    raw.LLAMA_KV_OVERRIDE_TYPE_BOOL: ("bool", "val_bool"),
    raw.LLAMA_KV_OVERRIDE_TYPE_STR: ("str", "val_str"),
}
"""By tag: Python's type, which is the engine's name of it too, and the field of the value."""


def override_values(array: Any) -> dict[str, bool | int | float | str]:
    """The keys and values in an array of ``llama_model_kv_override``.

    Raises:
        InvalidArgumentError: It has no end, or an entry of no known type.
    """
    values: dict[str, bool | int | float | str] = {}
    for index in range(4096):
        entry = array[index]
        if not entry.key:
            return values
        checks.in_range(f"kv_overrides[{index}].tag", entry.tag, 0, 3, "LLAMA_KV_OVERRIDE_*")
        value = getattr(entry, _VALUES[entry.tag][1])
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        values[entry.key.decode("utf-8", "replace")] = text
    # The engine would read on past a missing end.
    raise InvalidArgumentError("kv_overrides has no end: its last entry must have an empty key")


def check_types(values: Mapping[str, object], header: GGUFHeader) -> None:
    """Refuse values of another type than the file's, which the engine ignores.

    Raises:
        InvalidArgumentError: There is one.
    """
    for key, value in values.items():
        if key in header.array_lengths:
            raise InvalidArgumentError(
                f"kv_overrides[{key!r}]: the file has a list there, which cannot be overridden"
            )
        wanted = type(header.metadata.get(key, value))
        if wanted is not type(value):
            raise _wrong_type(key, wanted.__name__, type(value).__name__)


# What the engine logs of an override when it reads the key.
_USED = re.compile(r"Using metadata override \( *\w+\) '(.*)' =")
_IGNORED = re.compile(r"Bad metadata override type for key '(.*)', expected (\w+) but got (\w+)")


def unread(keys: Iterable[str], log: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that the engine has not read.

    Args:
        keys: All that were overridden.
        log: What the engine said while it loaded the model; empty if somebody else got that.

    Raises:
        InvalidArgumentError: A value is of another type than the engine reads there.
    """
    for line in log:
        if match := _IGNORED.search(line):
            raise _wrong_type(*match.groups())
    used = {match[1] for line in log if (match := _USED.search(line))}
    return tuple(key for key in keys if log and key not in used)


def _wrong_type(key: str, wanted: str, given: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"kv_overrides[{key!r}] must be of type {wanted}, not {given}")
