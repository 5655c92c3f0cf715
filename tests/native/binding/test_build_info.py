"""What the build says of itself, against the files that it made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import llama_cpp
from llama_cpp.native import library
from llama_cpp.native.build_info import BuildInfo, parse_features

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def info() -> BuildInfo:
    return llama_cpp.build_info()


def test_all_fields_are_there(info: BuildInfo) -> None:
    assert set(info) == set(BuildInfo.__annotations__)
    assert {name for name, value in info.items() if not value} <= {"workarounds"}


def test_the_engine_is_the_pinned_one(info: BuildInfo) -> None:
    pin = tomllib.loads((ROOT / "vendor" / "llama.cpp.toml").read_text("utf-8"))
    assert info["llama_cpp_commit"] == pin["commit"]
    assert info["llama_cpp_version"] == pin["version"]


def test_the_features_are_those_of_the_instruction_sets(info: BuildInfo) -> None:
    cpu = info["features"]["CPU"]
    assert set(cpu.values()) <= {"0", "1", *map(str, range(2, 2049))}
    for name in ("AVX", "AVX2", "FMA", "F16C", "BMI2", "AMX_INT8"):
        assert (cpu.get(name) == "1") == (name in info["instruction_sets"])


def test_devices_and_backends(info: BuildInfo) -> None:
    assert "CPU" in info["backends"]
    assert "CPU" in info["devices"]
    for backend in info["backends"]:
        assert library.find(f"ggml-{backend.lower()}") is not None


def test_the_libraries_are_those_of_one_folder(info: BuildInfo) -> None:
    folders = {Path(path).parent for path in info["libraries"].values()}
    assert len(folders) == 1
    assert info["libraries"]["llama"] == str(library.find("llama"))


def test_gcc_before_14_is_worked_around(info: BuildInfo) -> None:
    compiler, _, version = info["compiler"].partition(" ")
    major = int(version.split(".")[0])
    due = compiler == "GNU" and major < 14 and info["system"].endswith(("x86_64", "AMD64"))
    assert info["workarounds"] == ["amx-tile-config"] * due


def test_all_patches_are_in(info: BuildInfo) -> None:
    names = [path.stem for path in (ROOT / "vendor" / "patches").iterdir()]
    assert info["patches"] == sorted(names)


def test_no_openmp(info: BuildInfo) -> None:
    assert info["options"]["GGML_OPENMP"] == "OFF"
    path = library.find("ggml-cpu")
    command = ["readelf", "--dynamic", "--wide", str(path)]
    dynamic = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "libggml-base.so" in dynamic
    assert "libgomp" not in dynamic
    assert "libomp" not in dynamic


@pytest.mark.parametrize(
    ("line", "features"),
    [
        ("", {}),
        ("CPU : AVX = 1 | AVX2 = 0 | ", {"CPU": {"AVX": "1", "AVX2": "0"}}),
        (
            "CUDA : ARCHS = 900 | USE_GRAPHS = 1 | CPU : SSE3 = 1 | OPENMP = 1 | ",
            {
                "CUDA": {"ARCHS": "900", "USE_GRAPHS": "1"},
                "CPU": {"SSE3": "1", "OPENMP": "1"},
            },
        ),
        ("nonsense | CPU : AVX = 1", {"CPU": {"AVX": "1"}}),
    ],
)
def test_features_are_read_per_backend(line: str, features: dict[str, dict[str, str]]) -> None:
    assert parse_features(line) == features


def test_without_a_summary_the_fields_are_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(library.PATH_VARIABLE, str(tmp_path))
    info = llama_cpp.build_info()
    assert info["llama_cpp_commit"] == ""
    assert info["options"] == {}
    assert info["features"]["CPU"]
