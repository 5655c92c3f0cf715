"""``_utils``, ``llama_types``, and the helpers with which scripts declare C functions."""

from __future__ import annotations

import ctypes
import inspect
import os
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import pytest
from typing_extensions import is_typeddict

import llama_cpp
from llama_cpp import _utils, llama_types
from llama_cpp import llama_cpp as raw
from llama_cpp.errors import LibraryError, LibraryNotFoundError

TYPED_DICTS = sorted(
    name
    for name, value in vars(llama_types).items()
    if isinstance(value, type) and issubclass(value, dict) and not get_origin(value)
)


@pytest.mark.parametrize("disable", [True, False])
def test_suppress_stdout_stderr_leaves_the_file_descriptors_alone(
    disable: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with _utils.suppress_stdout_stderr(disable=disable) as entered:
        os.write(_utils.STDOUT_FILENO, b"out")
        os.write(_utils.STDERR_FILENO, b"err")
    assert isinstance(entered, llama_cpp.suppress_stdout_stderr)
    assert capfd.readouterr() == ("out", "err")
    with pytest.raises(ZeroDivisionError), _utils.suppress_stdout_stderr():
        _ = 1 / 0


def test_singletons() -> None:
    class One(_utils.Singleton):
        pass

    class Other(_utils.Singleton):
        pass

    assert One() is One()
    assert Other() is Other()
    assert (type(One()), type(Other())) == (One, Other)


def test_null_files_are_opened_once_and_swallow_everything() -> None:
    assert _utils.outnull_file is _utils.outnull_file
    assert _utils.outnull_file is not _utils.errnull_file
    for file in (_utils.outnull_file, _utils.errnull_file):
        file.write("gone")
        assert file.name == os.devnull
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = _utils.nothing


@pytest.mark.parametrize("name", TYPED_DICTS)
def test_types_are_typed_dicts_with_annotations_that_resolve(name: str) -> None:
    value = getattr(llama_types, name)
    assert is_typeddict(value)
    assert get_type_hints(value).keys() == value.__required_keys__ | value.__optional_keys__
    assert inspect.getdoc(value)


def test_optional_keys_are_optional_at_run_time() -> None:
    message = llama_types.ChatCompletionRequestAssistantMessage
    assert message.__required_keys__ == {"role"}
    assert "usage" in llama_types.CreateCompletionStreamResponse.__optional_keys__


def test_package_lists_every_type() -> None:
    # A star import is what a type checker sees on the package.
    namespace: dict[str, Any] = {}
    exec("from llama_cpp.llama_types import *", namespace)
    helpers = {"Any", "Literal", "NotRequired", "TypeAlias", "TypedDict", "__builtins__"}
    assert set(llama_cpp._TYPES) == namespace.keys() - helpers
    assert llama_cpp.JsonType is llama_types.JsonType


def test_scripts_can_declare_functions_of_the_library() -> None:
    @raw.ctypes_function("llama_supports_mmap", [], ctypes.c_bool)
    def supported() -> bool:
        """Say whether the engine can map files."""
        raise AssertionError

    @raw.ctypes_function("no_such_function", [], ctypes.c_bool, enabled=False)
    def disabled() -> str:
        return "the declaration"

    assert supported() is raw.llama_supports_mmap()
    assert supported.__doc__ == "Say whether the engine can map files."
    assert disabled() == "the declaration"


@pytest.mark.parametrize("kind", [Path, str])
def test_scripts_can_load_the_library(kind: Any) -> None:
    folder = kind(Path(raw._lib._name).parent)
    library = raw.load_shared_library("llama", folder)
    addresses = [
        ctypes.cast(each.llama_decode, ctypes.c_void_p).value for each in (library, raw._lib)
    ]
    assert addresses[0] == addresses[1]


def test_libraries_that_cannot_be_loaded_are_explained(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFoundError, match=r"no shared library 'nothing'\. Tried: .*noth"):
        raw.load_shared_library("nothing", tmp_path)
    (tmp_path / "libbroken.so").write_bytes(b"no library")
    with pytest.raises(LibraryError, match="cannot be loaded"):
        raw.load_shared_library("broken", tmp_path)


def test_a_script_may_declare_a_function_with_types_of_its_own() -> None:
    @raw.ctypes_function("llama_max_devices", [], ctypes.c_uint8)
    def declared() -> int:
        """How many."""
        raise AssertionError("the native function takes its place")

    assert declared() == llama_cpp.llama_max_devices()

    @raw.ctypes_function("llama_version", [], ctypes.POINTER(ctypes.c_char))
    def version() -> Any:
        """A pointer, where the table has bytes."""

    assert ctypes.string_at(version()) == llama_cpp.llama_version()
    assert isinstance(llama_cpp.llama_version(), bytes)


@pytest.mark.parametrize("name", ["py", "lib", "_llama", "Lama"])
def test_the_package_has_no_attributes_but_its_names(name: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(llama_cpp, name)
