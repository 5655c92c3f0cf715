"""What importing costs and prints: next to nothing, and nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from library_kit import output
from zoo import write_llama

HEAVY = ("numpy", "jinja2", "diskcache")
LOADED = """
import pathlib, sys
print(*sorted(name for name in {names!r} if name in sys.modules))
maps = pathlib.Path("/proc/self/maps").read_text("utf-8")
print(*(line for line in maps.splitlines() if {library!r} in line))
"""


def loaded_by(statement: str) -> tuple[list[str], str]:
    """The heavy modules that a statement imports, and where the native library is mapped."""
    code = statement + LOADED.format(names=HEAVY, library="libllama")
    modules, maps = output(code).split("\n", 1)
    return modules.split(), maps.strip()


def test_the_package_loads_nothing() -> None:
    modules, maps = loaded_by("import llama_cpp")
    assert modules == []
    assert maps == ""


@pytest.mark.parametrize(
    "statement",
    [
        "import llama_cpp; llama_cpp.__version__",
        "import llama_cpp.errors",
        "from llama_cpp.native import library; library.find('llama')",
    ],
)
def test_light_uses_load_no_library(statement: str) -> None:
    assert loaded_by(statement) == ([], "")


@pytest.mark.parametrize(
    "statement",
    [
        "import llama_cpp.llama_cpp",
        "import llama_cpp; llama_cpp.llama_supports_mmap()",
        "import llama_cpp; llama_cpp.llama_model_default_params()",
    ],
)
def test_the_raw_api_needs_no_heavy_module(statement: str) -> None:
    modules, maps = loaded_by(statement)
    assert modules == []
    assert "libllama.so" in maps


def test_the_probe_sees_what_is_loaded() -> None:
    modules, _ = loaded_by("import numpy, jinja2, diskcache")
    assert modules == sorted(HEAVY)


DECODE = """
from llama_cpp.handles.batch import Batch
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model
from llama_cpp.handles.sampler import SamplerChain
from llama_cpp.handles.sampler_kinds import greedy

model = Model({path!r})
context = Context(model)
batch = Batch(8)
batch.add_sequence(model.vocab.tokenize("the")[:8])
context.decode(batch)
SamplerChain([greedy()]).sample(context)
"""
CLOSE = "context.close()\nmodel.close()\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("import") / "tiny.gguf", n_layer=1)


@pytest.mark.parametrize("end", [CLOSE, "", "del model, context\n"])
def test_nothing_is_printed(path: Path, end: str) -> None:
    assert output(DECODE.format(path=str(path)) + end) == ""


def test_what_is_not_printed_was_logged(path: Path) -> None:
    code = "import logging, sys\nlogging.basicConfig(level='DEBUG', stream=sys.stdout)\n"
    lines = output(code + DECODE.format(path=str(path))).splitlines()
    assert len(lines) > 50
    assert all(line.split(":")[1] == "llama_cpp" for line in lines)
