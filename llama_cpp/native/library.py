"""Find and load the native libraries, and explain when that fails.

The libraries are looked for in the folder that ``LLAMA_CPP_LIB_PATH`` names, if it is set, and
otherwise in the ``lib`` folder of this package. System folders are never searched: a libllama of
another version has other struct layouts, and would crash instead of failing.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import struct
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import LibraryError, LibraryNotFoundError
from .bind import Library, Signature

PATH_VARIABLE = "LLAMA_CPP_LIB_PATH"

# Folders below these hold the run-time DLLs of the GPU toolkits on Windows.
_WINDOWS_TOOLKITS = ("CUDA_PATH", "HIP_PATH", "VULKAN_SDK")

# /proc/cpuinfo's flag for what the build info calls an instruction set.
_CPUINFO_FLAGS = {
    "AVX": "avx",
    "AVX2": "avx2",
    "AVX512F": "avx512f",
    "AVX512VBMI": "avx512vbmi",
    "AVX512VNNI": "avx512_vnni",
    "AVX512BF16": "avx512_bf16",
    "AVXVNNI": "avx_vnni",
    "BMI2": "bmi2",
    "F16C": "f16c",
    "FMA": "fma",
    "SSE4_2": "sse4_2",
}

_lock = threading.Lock()
_loaded: dict[str, Library] = {}
_checked: set[Path] = set()
_dll_folders: list[Any] = []  # closing one would take the folder from the search path again


def search_folders() -> list[Path]:
    """The folders that may hold the libraries, in the order in which they are searched."""
    override = os.environ.get(PATH_VARIABLE)
    if override:
        return [Path(override).expanduser()]
    # An editable install spreads the package over two folders: the sources and the built files.
    package = sys.modules[__name__.split(".")[0]]
    return [Path(folder) / "lib" for folder in package.__path__]


def file_names(stem: str, platform: str = sys.platform) -> list[str]:
    """What the library ``stem`` may be called on a platform."""
    if platform == "win32":
        return [f"{stem}.dll", f"lib{stem}.dll"]
    if platform == "darwin":
        return [f"lib{stem}.dylib", f"lib{stem}.so"]
    return [f"lib{stem}.so"]


def find(stem: str) -> Path | None:
    """The file of the library ``stem``, or None."""
    for folder in search_folders():
        for name in file_names(stem):
            if (folder / name).is_file():
                return folder / name
    return None


def load(stem: str, signatures: Mapping[str, Signature]) -> Library:
    """Load the library ``stem`` (``"llama"``, ``"ggml-base"``, ...) once per process.

    Args:
        stem: The name without prefix and suffix.
        signatures: The generated table that gives its functions their types.

    Raises:
        LibraryNotFoundError: The library, or something that it depends on, is missing.
        LibraryError: It is there and cannot be loaded.
    """
    with _lock:
        if stem not in _loaded:
            _loaded[stem] = _load(stem, signatures)
        return _loaded[stem]


def _load(stem: str, signatures: Mapping[str, Signature]) -> Library:
    path = find(stem)
    if path is None:
        raise LibraryNotFoundError(_not_found(stem))
    if path.parent not in _checked:
        check_complete(path.parent)
        check_processor(path.parent)
        _checked.add(path.parent)
    add_dll_folders(path.parent)
    try:
        return Library(str(path), signatures)
    except OSError as error:
        raise explain(path, error) from error


def build_info_file() -> Path | None:
    """The configure summary that was installed beside the libraries, or None."""
    for folder in search_folders():
        if (folder / "build_info.json").is_file():
            return folder / "build_info.json"
    return None


def check_complete(folder: Path) -> None:
    """Refuse truncated libraries: the dynamic loader of Linux would die of them, with SIGBUS.

    Raises:
        LibraryError: A file ends before its own header says it should.
    """
    for path in folder.glob("lib*.so"):
        if _is_truncated(path):
            raise LibraryError(
                f"{path} is damaged: a part of it is missing. Reinstall the package."
            )


def _is_truncated(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            header = file.read(64)
            size = file.seek(0, os.SEEK_END)
    except OSError:
        return False
    if len(header) < 64 or not header.startswith(b"\x7fELF\2"):
        return False
    order = "<" if header[5] == 1 else ">"
    (sections,) = struct.unpack_from(f"{order}Q", header, 0x28)  # the table at the end of a file
    section_size, count = struct.unpack_from(f"{order}HH", header, 0x3A)
    return bool(sections + section_size * count > size)


def check_processor(folder: Path, cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Refuse libraries that were built for a processor with more instructions than this one.

    Raises:
        LibraryError: The first native call would die with an illegal instruction.
    """
    try:
        built_for = json.loads((folder / "build_info.json").read_text("utf-8"))["instruction_sets"]
        with cpuinfo.open(encoding="ascii", errors="replace") as file:
            first_core = file.read(8192)
    except (OSError, ValueError, KeyError):
        return
    flags = re.search(r"^flags\s*:(.*)$", first_core, re.MULTILINE)
    if flags is None:
        return
    here = flags[1].split()
    known = [name for name in built_for if name in _CPUINFO_FLAGS]
    lacking = [name for name in known if _CPUINFO_FLAGS[name] not in here]
    if lacking:
        raise LibraryError(
            f"The libraries in {folder} were built for a processor with {', '.join(lacking)}, "
            "which this one does not have. Rebuild on this machine, or build with "
            'CMAKE_ARGS="-DGGML_NATIVE=OFF", which asks for AVX2 and no more; docs/building.md '
            "tells how to ask for less."
        )


def _not_found(stem: str) -> str:
    tried = "\n  ".join(
        str(folder / name) for folder in search_folders() for name in file_names(stem)
    )
    if os.environ.get(PATH_VARIABLE):
        remedy = f"Point {PATH_VARIABLE} at the folder that holds the libraries, or unset it."
    else:
        remedy = (
            "In a checkout, run `make` or `pip install --force-reinstall --no-cache-dir .`; the "
            "first lines that CMake prints say what is missing."
        )
    return f"The native library {stem!r} is not there. Tried:\n  {tried}\n{remedy}"


def add_dll_folders(folder: Path) -> None:
    """On Windows, let the loader find what the libraries of ``folder`` depend on."""
    if sys.platform == "win32":
        candidates = [folder]
        for variable in _WINDOWS_TOOLKITS:
            if root := os.environ.get(variable):
                candidates += [Path(root) / "bin", Path(root) / "bin" / "x64", Path(root) / "lib"]
        for candidate in candidates:
            if candidate.is_dir() and not any(str(candidate) == d.path for d in _dll_folders):
                _dll_folders.append(os.add_dll_directory(str(candidate)))


# What the dynamic loaders of Linux, macOS and Windows say of a missing dependency.
_MISSING_DEPENDENCY = (
    re.compile(r"^(?P<name>[^\s:/]+): cannot open shared object file"),
    re.compile(r"Library not loaded: (?P<name>\S+)"),
    re.compile(r"Could not find module '(?P<name>[^']+)' \(or one of its dependencies\)"),
)

_DAMAGED = re.compile(
    r"invalid ELF header|wrong ELF class|wrong architecture|file too short|cannot read file data"
)

_DEPENDENCY_CURES = {
    "libggml": "reinstall the package",
    "libllama": "reinstall the package",
    "cuda": "install the CUDA run time that the build used, and let the loader find it",
    "cublas": "install the CUDA run time that the build used, and let the loader find it",
    "vulkan": "install the Vulkan loader (Debian: libvulkan1) and a driver",
    "amdhip": "install the ROCm run time that the build used",
    "rocblas": "install the ROCm run time that the build used",
    "openblas": "install OpenBLAS (Debian: libopenblas0)",
    "gomp": "install GCC's OpenMP run time (Debian: libgomp1)",
    "stdc++": "install the C++ run time (Debian: libstdc++6)",
    "sycl": "source oneAPI's setvars.sh before starting Python",
    "opencl": "install the OpenCL loader (Debian: ocl-icd-libopencl1) and a driver",
}


def explain(path: Path, error: OSError) -> LibraryError:
    """Return the error to raise when the loader refused ``path``, with the remedy."""
    text = str(error)
    for pattern in _MISSING_DEPENDENCY:
        match = pattern.search(text)
        if match is None:
            continue
        name = match["name"]
        if name == str(path):  # Windows does not tell which one
            name = "a library"
        remedy = next(
            (remedy for part, remedy in _DEPENDENCY_CURES.items() if part in name.lower()),
            "install the package that holds it, or rebuild without the backend that needs it",
        )
        return LibraryNotFoundError(
            f"{path} cannot be loaded, because {name}, which it depends on, is not to be found. "
            f"Remedy: {remedy}. The loader said: {text}"
        )
    if _DAMAGED.search(text):
        remedy = "it is damaged, or built for another kind of machine: reinstall the package"
    elif "GLIBC" in text or "version `" in text:
        remedy = "it was built on a newer system than this one: build it here"
    elif "undefined symbol" in text:
        remedy = "it does not fit the libraries beside it: reinstall the package"
    else:
        remedy = "reinstall the package; `pip install -v` shows the build"
    return LibraryError(f"{path} cannot be loaded: {remedy}. The loader said: {text}")


def names_of_loaded() -> dict[str, str]:
    """The libraries loaded so far: stem to path."""
    return {stem: library._name for stem, library in _loaded.items()}


def exported_by(stems: tuple[str, ...], name: str, signatures: Mapping[str, Signature]) -> Any:
    """Bind ``name`` from the first of several libraries that has it, or a stub that raises."""
    for stem in stems:
        if stem not in _loaded and find(stem) is None:
            continue
        function = load(stem, signatures).find(name)
        if function is not None:
            return function
    return load(stems[0], signatures).bind(name)


def noop_callback() -> int:
    """The address of a native function that ignores whatever it is called with."""
    from .generated.llama import SIGNATURES

    function = load("llama", SIGNATURES).bind("llama_supports_mmap")
    return ctypes.cast(function, ctypes.c_void_p).value or 0
