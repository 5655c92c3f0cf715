"""The headers that are bound, and where everything is. To bind another header, add its line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "vendor" / "llama.cpp"
GENERATED = ROOT / "llama_cpp" / "native" / "generated"
PIN = ROOT / "vendor" / "llama.cpp.toml"
POLICY = Path(__file__).with_name("policy.toml")
PROBE = Path(__file__).with_name("probe.c")
LAYOUT = Path(__file__).with_name("layout.json")


@dataclass(frozen=True)
class Header:
    """A C header, and the generated module that its declarations go to."""

    module: str
    path: Path

    @property
    def name(self) -> str:
        return self.path.name


# The backends that have C functions of their own; a build has some of them.
BACKENDS = ("blas", "cann", "cuda", "et", "hexagon", "metal", "opencl", "sycl", "virtgpu", "vulkan",
            "webgpu", "zdnn", "zendnn")  # fmt: skip

# A module may use what an earlier one defines, never the other way round.
HEADERS = (
    Header("ggml", VENDOR / "ggml/include/ggml.h"),
    Header("ggml", VENDOR / "ggml/include/ggml-alloc.h"),
    Header("ggml", VENDOR / "ggml/include/ggml-backend.h"),
    Header("ggml", VENDOR / "ggml/include/ggml-cpu.h"),
    Header("ggml", VENDOR / "ggml/include/ggml-opt.h"),
    Header("ggml", VENDOR / "ggml/include/ggml-rpc.h"),
    Header("ggml", VENDOR / "ggml/include/gguf.h"),
    *(Header("backends", VENDOR / f"ggml/include/ggml-{name}.h") for name in BACKENDS),
    Header("llama", VENDOR / "include/llama.h"),
    Header("mtmd", VENDOR / "tools/mtmd/mtmd.h"),
    Header("mtmd", VENDOR / "tools/mtmd/mtmd-helper.h"),
    Header("bridge", ROOT / "bridge/bridge.h"),
)


def include_directories() -> list[Path]:
    """Return the folders that the headers find each other in."""
    return sorted({header.path.parent for header in HEADERS})


def pinned_commit() -> str:
    """Return the llama.cpp commit that the bindings are generated from."""
    return str(read_toml(PIN)["commit"])


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file says."""
    contents: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return contents
