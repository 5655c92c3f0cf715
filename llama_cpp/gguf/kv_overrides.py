"""Metadata that takes the place of a file's: ``kv_overrides``, as the engine reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError
from ..validation.numbers import integer, plain


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
