"""How the native libraries were built, and what they can do on this machine."""

from __future__ import annotations

import json
import re
from typing import TypedDict

from . import engine, library
from .backend import start_backend

_FEATURE = re.compile(r"\s*(?:(?P<backend>[^:=]+?) : )?\s*(?P<name>\S+) = (?P<value>\S+)\s*")


class BuildInfo(TypedDict):
    """What :func:`build_info` returns."""

    llama_cpp_commit: str
    llama_cpp_version: str
    build_type: str
    compiler: str
    system: str
    backends: list[str]
    instruction_sets: list[str]
    patches: list[str]
    workarounds: list[str]
    options: dict[str, str]
    features: dict[str, dict[str, str]]
    devices: list[str]
    libraries: dict[str, str]


def build_info() -> BuildInfo:
    """Return how the loaded native libraries were built.

    Returns:
        ``llama_cpp_commit``, ``llama_cpp_version``: the engine;
        ``build_type``, ``compiler``, ``system``, ``options`` (the CMake options that were set);
        ``backends``: those compiled in;
        ``instruction_sets``: those that the compiler was allowed to use;
        ``patches``: those of ``vendor/patches`` that are in the engine;
        ``workarounds``: what the compiler gets wrong, and the build avoids;
        ``features``: what each backend says of itself at run time;
        ``devices``: the names of the devices that are there now;
        ``libraries``: the files that are loaded.

        The configure-time fields are empty for libraries that were built without this project.

    Raises:
        LibraryError: The native libraries cannot be loaded.
    """
    start_backend()  # loads backends that are libraries of their own
    file = library.build_info_file()
    recorded = json.loads(file.read_text("utf-8")) if file else {}
    return BuildInfo(
        llama_cpp_commit=recorded.get("llama_cpp_commit", ""),
        llama_cpp_version=recorded.get("llama_cpp_version", ""),
        build_type=recorded.get("build_type", ""),
        compiler=recorded.get("compiler", ""),
        system=recorded.get("system", ""),
        backends=recorded.get("backends", []),
        instruction_sets=recorded.get("instruction_sets", []),
        patches=recorded.get("patches", []),
        workarounds=recorded.get("workarounds", []),
        options=recorded.get("options", {}),
        features=parse_features(
            (engine.libllama().bind("llama_print_system_info")() or b"").decode()
        ),
        devices=_devices(),
        libraries=library.names_of_loaded(),
    )


def parse_features(system_info: str) -> dict[str, dict[str, str]]:
    """Read the engine's one-line summary, ``CPU : AVX = 1 | AVX2 = 1 | CUDA : ...``."""
    features: dict[str, dict[str, str]] = {}
    backend = ""
    for part in system_info.split("|"):
        match = _FEATURE.fullmatch(part)
        if match:
            backend = match["backend"] or backend
            features.setdefault(backend, {})[match["name"]] = match["value"]
    return features


def _devices() -> list[str]:
    names = []
    for index in range(engine.ggml_function("ggml_backend_dev_count")()):
        device = engine.ggml_function("ggml_backend_dev_get")(index)
        if device is not None:
            names.append((engine.ggml_function("ggml_backend_dev_name")(device) or b"").decode())
    return names
