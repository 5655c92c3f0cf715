"""Finding, loading and refusing the native libraries."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from library_kit import compile_library, failure, output

from llama_cpp.errors import LibraryError, LibraryNotFoundError
from llama_cpp.native import library

FOUND = library.find("llama")
assert FOUND is not None, "the libraries are not built: make"
FOLDER = FOUND.parent
FILES = sorted(path.name for path in FOLDER.glob("lib*.so"))

LOAD_ALL = """
from llama_cpp import llama_cpp, mtmd_cpp
from llama_cpp.native.backend import bridge, start_backend
start_backend()
bridge("bridge_string_free")
"""


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(FOLDER, folder / "lib"))


# What is in the folder


def test_each_library_is_mapped_once_and_from_one_folder() -> None:
    maps = output(f"{LOAD_ALL}\nimport pathlib\nprint(pathlib.Path('/proc/self/maps').read_text())")
    paths = set(re.findall(r"/\S+/(?:libggml|libllama|libmtmd)\S*", maps))
    assert {Path(path).parent for path in paths} == {FOLDER}
    assert sorted(Path(path).name for path in paths) == FILES
    assert len(FILES) >= 7


def test_every_library_is_one_file_under_one_name() -> None:
    assert [path.name for path in FOLDER.iterdir() if path.is_symlink()] == []
    assert [path.name for path in FOLDER.iterdir() if re.search(r"\.so\.|\.\d+\.", path.name)] == []
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted([*FILES, "build_info.json"])


@pytest.mark.parametrize("name", FILES)
def test_the_folder_can_be_moved(name: str) -> None:
    command = ["readelf", "--dynamic", "--wide", str(FOLDER / name)]
    dynamic = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tags = dict(re.findall(r"\((RUNPATH|RPATH|SONAME)\)\s.*\[(.*)\]", dynamic))
    assert tags == {"RUNPATH": "$ORIGIN", "SONAME": name}
    own = re.findall(r"\(NEEDED\)\s.*\[(lib(?:ggml|llama|mtmd).*)\]", dynamic)
    assert set(own) <= set(FILES)


def test_a_copied_folder_works(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    code = f"""{LOAD_ALL}
import llama_cpp
print(*llama_cpp.build_info()["libraries"].values(), *llama_cpp.build_info()["devices"])
"""
    *files, device = output(code, folder).split()
    assert {Path(file).parent for file in files} == {folder}
    assert device == "CPU"


# What is wrong with the folder


def test_an_empty_folder(tmp_path: Path) -> None:
    message = failure("import llama_cpp.llama_cpp", tmp_path)
    assert message.startswith("llama_cpp.errors.LibraryNotFoundError")
    assert str(tmp_path / "libllama.so") in message
    assert "Point LLAMA_CPP_LIB_PATH at the folder" in message


def test_no_installed_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "search_folders", lambda: [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(LibraryNotFoundError, match="pip install --force-reinstall") as caught:
        library.load("nonesuch", {})
    assert all(str(tmp_path / name / "libnonesuch.so") in str(caught.value) for name in "ab")


@pytest.mark.parametrize("missing", ["libggml-base.so", "libggml-cpu.so", "libllama-common.so"])
def test_a_missing_dependency_is_named(missing: str, tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / missing).unlink()
    message = failure(LOAD_ALL, folder)
    assert message.startswith("llama_cpp.errors.LibraryNotFoundError")
    assert f"because {missing}, which it depends on, is not to be found. Remedy: " in message


@pytest.mark.parametrize("name", ["libllama.so", "libggml-base.so"])
@pytest.mark.parametrize("keep", [0.0, 0.0001, 0.01, 0.5, 0.9999])
def test_a_truncated_library_is_refused(name: str, keep: float, tmp_path: Path) -> None:
    folder = copied(tmp_path)
    size = (folder / name).stat().st_size
    os.truncate(folder / name, int(size * keep))
    message = failure("import llama_cpp.llama_cpp", folder)
    assert message.startswith("llama_cpp.errors.LibraryError")
    assert str(folder / name) in message
    assert "damaged" in message


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "libllama.so").write_text("version https://git-lfs.github.com/spec/v1\n" * 10)
    message = failure("import llama_cpp.llama_cpp", folder)
    assert message.startswith("llama_cpp.errors.LibraryError")
    assert "damaged" in message


def test_a_library_that_does_not_fit_those_beside_it(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    compile_library("", folder / "libggml-base.so")
    message = failure("import llama_cpp.llama_cpp", folder)
    assert message.startswith("llama_cpp.errors.LibraryError")
    assert "does not fit the libraries beside it" in message


# Pure functions


@pytest.mark.parametrize(
    ("platform", "names"),
    [
        ("linux", ["libllama.so"]),
        ("darwin", ["libllama.dylib", "libllama.so"]),
        ("win32", ["llama.dll", "libllama.dll"]),
        ("freebsd14", ["libllama.so"]),
    ],
)
def test_file_names(platform: str, names: list[str]) -> None:
    assert library.file_names("llama", platform) == names


def test_the_folder_of_the_variable_is_the_only_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(library.PATH_VARIABLE, str(tmp_path))
    assert library.search_folders() == [tmp_path]
    monkeypatch.setenv(library.PATH_VARIABLE, "~/lib")
    assert library.search_folders() == [Path.home() / "lib"]
    monkeypatch.setenv(library.PATH_VARIABLE, "")
    assert FOLDER in library.search_folders()


@pytest.mark.parametrize(
    ("text", "dependency", "cure"),
    [
        (
            "libcudart.so.12: cannot open shared object file: No such file",
            "libcudart.so.12",
            "CUDA",
        ),
        (
            "libvulkan.so.1: cannot open shared object file: No such file",
            "libvulkan.so.1",
            "Vulkan",
        ),
        ("libfoo.so.1: cannot open shared object file: No such file", "libfoo.so.1", "package"),
        (
            "dlopen(/x/libllama.dylib, 6): Library not loaded: @rpath/libggml.dylib\n  Referenced",
            "@rpath/libggml.dylib",
            "package",
        ),
        (
            "Could not find module 'C:\\x\\llama.dll' (or one of its dependencies). Try using",
            "a library",
            "package",
        ),
    ],
)
def test_what_the_loaders_of_all_systems_say_is_understood(
    text: str, dependency: str, cure: str
) -> None:
    path: Any = r"C:\x\llama.dll"
    error = library.explain(path, OSError(text))
    assert isinstance(error, LibraryNotFoundError)
    assert f"because {dependency}, which it depends on" in str(error)
    assert cure in str(error)
    assert text in str(error)


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("/x/libllama.so: wrong ELF class: ELFCLASS32", "another kind of machine"),
        ("/x/libllama.so: invalid ELF header", "damaged"),
        ("mach-o file, but is an incompatible architecture, wrong architecture", "another kind"),
        ("libc.so.6: version `GLIBC_2.38' not found", "newer system"),
        ("/x/libllama.so: undefined symbol: ggml_new", "beside it"),
        ("something else", "pip install -v"),
    ],
)
def test_other_failures_are_explained(text: str, cure: str) -> None:
    error = library.explain(Path("/x/libllama.so"), OSError(text))
    assert not isinstance(error, LibraryNotFoundError)
    assert cure in str(error)
    assert text in str(error)


def test_windows_finds_the_toolkits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Added:
        def __init__(self, path: str) -> None:
            self.path = path

    added: list[Added] = []
    for folder in ("lib", "cuda/bin", "cuda/bin/x64", "vulkan/lib"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "cuda"))
    monkeypatch.setenv("VULKAN_SDK", str(tmp_path / "vulkan"))
    monkeypatch.delenv("HIP_PATH", raising=False)
    monkeypatch.setattr(library, "_dll_folders", added)
    monkeypatch.setattr(os, "add_dll_directory", Added, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    for _ in range(2):
        library.add_dll_folders(tmp_path / "lib")
    found = [Path(each.path).relative_to(tmp_path).as_posix() for each in added]
    assert found == ["lib", "cuda/bin", "cuda/bin/x64", "vulkan/lib"]


# Processors


@pytest.fixture
def built(tmp_path: Path) -> Callable[[list[str], str], None]:
    """Check libraries that were built for instruction sets against a processor's flags."""

    def check(instruction_sets: list[str], flags: str) -> None:
        info = {"instruction_sets": instruction_sets}
        (tmp_path / "build_info.json").write_text(json.dumps(info))
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: spectre_v1\n")
        library.check_processor(tmp_path, cpuinfo)

    return check


def test_a_processor_with_everything_is_accepted(built: Callable[[list[str], str], None]) -> None:
    built(["AVX", "AVX512BF16", "AVXVNNI"], "fpu avx avx2 avx512_bf16 avx_vnni")
    built([], "fpu")
    # The engine itself asks for AMX before it uses it, and ARM's names are other ones.
    built(["AMX_INT8", "ARM_NEON"], "fpu")


def test_a_processor_that_lacks_instructions_is_refused(
    built: Callable[[list[str], str], None],
) -> None:
    with pytest.raises(LibraryError, match="a processor with AVX512F, AVX512VNNI, which") as caught:
        built(["AVX2", "AVX512F", "AVX512VNNI"], "fpu avx avx2 avx512")
    assert "-DGGML_NATIVE=OFF" in str(caught.value)


def test_without_information_every_processor_is_accepted(tmp_path: Path) -> None:
    library.check_processor(tmp_path, tmp_path / "nonesuch")
    (tmp_path / "build_info.json").write_text('{"instruction_sets": ["AVX512F"]}')
    library.check_processor(tmp_path, tmp_path / "nonesuch")
    (tmp_path / "cpuinfo").write_text("processor : 0\nFeatures : asimd\n")
    library.check_processor(tmp_path, tmp_path / "cpuinfo")
    (tmp_path / "build_info.json").write_text("{")
    library.check_processor(tmp_path, tmp_path / "cpuinfo")


def test_this_processor_is_accepted() -> None:
    library.check_processor(FOLDER)
    assert json.loads((FOLDER / "build_info.json").read_text())["instruction_sets"]
