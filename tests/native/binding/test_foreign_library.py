"""Libraries of another version, and functions that a build lacks."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from library_kit import compile_library, failure, output

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import SymbolMissingError
from llama_cpp.native.bind import Library, Pointer

DEFAULTS = {
    "llama_model_default_params": raw.llama_model_params,
    "llama_context_default_params": raw.llama_context_params,
    "llama_model_quantize_default_params": raw.llama_model_quantize_params,
}


def default_bytes(function: str) -> bytes:
    return bytes(getattr(raw, function)())


def grown(data: bytes) -> bytes:
    return data + bytes(8)


def shrunk(data: bytes) -> bytes:
    return data[:-8]


def shifted(data: bytes) -> bytes:
    return bytes(8) + data[:-8]


def write_foreign(folder: Path, structs: dict[str, bytes]) -> Path:
    """A libllama.so whose functions return these bytes.

    Structs of more than 16 bytes all come back the same way, whatever their fields are.
    """
    lines = ["#include <stdbool.h>"]
    for function, data in structs.items():
        lines += [
            f"struct {function}_s {{ unsigned char bytes[{len(data)}]; }};",
            f"struct {function}_s {function}(void) {{",
            f"    return (struct {function}_s) {{{{{', '.join(map(str, data))}}}}};",
            "}",
        ]
    lines += [
        "struct chain_s { bool no_perf; };",
        "struct chain_s llama_sampler_chain_default_params(void) { return (struct chain_s){1}; }",
        "void llama_log_set(void * callback, void * data) {}",
        "bool llama_supports_mmap(void) { return true; }",
    ]
    compile_library("\n".join(lines), folder / "libllama.so")
    return folder


def test_a_libllama_with_the_right_defaults_is_accepted(tmp_path: Path) -> None:
    folder = write_foreign(tmp_path, {name: default_bytes(name) for name in DEFAULTS})
    code = """
from llama_cpp import llama_cpp
from llama_cpp.errors import SymbolMissingError
assert llama_cpp.llama_context_default_params().n_ctx == 512
assert llama_cpp.llama_supports_mmap() is True
try:
    llama_cpp.llama_n_ctx(llama_cpp.llama_context_p(1))
except SymbolMissingError as error:
    print(error)
"""
    assert output(code, folder).startswith(f"llama_n_ctx is not in {folder / 'libllama.so'}")


@pytest.mark.parametrize("function", DEFAULTS)
@pytest.mark.parametrize("drift", [grown, shrunk, shifted])
def test_a_libllama_with_other_structs_is_refused(
    function: str, drift: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    structs = {name: default_bytes(name) for name in DEFAULTS}
    structs[function] = drift(structs[function])
    folder = write_foreign(tmp_path, structs)
    message = failure("import llama_cpp.llama_cpp", folder)
    assert message.startswith("llama_cpp.errors.LibraryMismatchError")
    assert str(folder / "libllama.so") in message
    assert f"{function} gives " in message


def test_a_library_that_is_no_libllama_is_refused(tmp_path: Path) -> None:
    compile_library("", tmp_path / "libllama.so")
    message = failure("import llama_cpp.llama_cpp", tmp_path)
    assert message.startswith("llama_cpp.errors.LibraryMismatchError")
    assert "llama_model_default_params gives nothing: it is not there" in message


class thing_p(Pointer):
    """A pointer kind of the small library below."""


SIGNATURES: dict[str, Any] = {
    "there": (ctypes.c_int, (ctypes.c_int,), "int there(int x)"),
    "make": (thing_p, (ctypes.c_size_t,), "struct thing * make(size_t address)"),
    "not_there": (ctypes.c_int, (), "int not_there(void)"),
}


def test_a_missing_function_raises_only_when_it_is_called(tmp_path: Path) -> None:
    source = (
        "#include <stddef.h>\n"
        "int there(int x) { return x + 1; }\n"
        "void * make(size_t address) { return (void *) address; }\n"
    )
    path = compile_library(source, tmp_path / "libsmall.so")
    small = Library(str(path), SIGNATURES)
    assert small.bind("there")(41) == 42
    assert small.bind("there").__doc__ == "int there(int x)"
    assert small.find("not_there") is None
    stub = small.bind("not_there")
    assert (stub.__name__, stub.__doc__) == ("not_there", "int not_there(void)")
    with pytest.raises(SymbolMissingError, match=f"not_there is not in {re.escape(str(path))}"):
        stub()
    with pytest.raises(NotImplementedError):
        stub(1, 2, 3)
    made = small.bind("make")(4096)
    assert isinstance(made, thing_p)
    assert made == 4096
    assert small.bind("make")(0) is None
