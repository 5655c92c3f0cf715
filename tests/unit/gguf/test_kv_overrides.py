"""Overrides of metadata that would change nothing are told."""

from __future__ import annotations

from typing import Any

import pytest
from gguf_bytes import BOOL, F32, STRING, U32, Save, array, gguf, pair, text, u32

from llama_cpp.errors import InvalidArgumentError
from llama_cpp.gguf.header import read_header
from llama_cpp.gguf.kv_overrides import check_types, override_array, override_values, unread

VALUES: dict[str, bool | int | float | str] = {"a": True, "b": -5, "c": 0.5, "d": "text"}


def test_what_goes_into_an_array_is_what_is_in_it() -> None:
    assert override_values(override_array(VALUES)) == VALUES
    assert override_values(override_array({})) == {}


@pytest.mark.parametrize("value", VALUES.values(), ids=repr)
def test_a_value_is_of_the_type_in_the_file(save: Save, value: Any) -> None:
    kinds = {"bool": BOOL, "int": U32, "float": F32, "str": STRING}
    raw = {"bool": b"\1", "int": u32(1), "float": u32(0), "str": text("x")}
    pairs = [pair(name, kind, raw[name]) for name, kind in kinds.items()]
    header = read_header(save(gguf(*pairs, array("list", U32, 1, u32(1)))))
    own = type(value).__name__
    check_types({own: value, "unknown": value}, header)
    for other in kinds.keys() - {own}:
        wrong = f"kv_overrides.'{other}'. must be of type {other}, not {own}"
        with pytest.raises(InvalidArgumentError, match=wrong):
            check_types({other: value}, header)
    with pytest.raises(InvalidArgumentError, match="has a list there"):
        check_types({"list": value}, header)


def test_the_log_tells_what_was_read() -> None:
    log = [
        "validate_override: Using metadata override (  int) 'a.b' =",
        "7",
        "validate_override: Using metadata override (  str) 'quote's' =",
    ]
    assert unread(["a.b", "quote's", "c"], log) == ("c",)
    assert unread(["a.b"], []) == ()  # somebody else got the log
    bad = "Warning: Bad metadata override type for key 'c', expected int but got str"
    with pytest.raises(InvalidArgumentError, match="kv_overrides.'c'. must be of type int, not"):
        unread(["c"], [*log, bad])
