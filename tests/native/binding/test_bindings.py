"""The generated bindings against the headers, a C compiler and the built libraries."""

from __future__ import annotations

import ctypes
import importlib
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llama_cpp.native import engine, library
from tools.bindgen import headers, macros
from tools.bindgen.generate import Output, differing, generate
from tools.bindgen.unit import BindgenError, parse_headers

MODULES = tuple(dict.fromkeys(header.module for header in headers.HEADERS))
LIBRARIES = {
    "ggml": ("ggml-base", "ggml", "ggml-cpu", "ggml-rpc"),
    "backends": tuple(f"ggml-{name}" for name in headers.BACKENDS),
    "llama": ("llama",),
    "mtmd": ("mtmd",),
    "bridge": ("llama-bridge",),
}


def module(name: str) -> ModuleType:
    return importlib.import_module(f"llama_cpp.native.generated.{name}")


@pytest.fixture(scope="module")
def generated() -> Output:
    if not headers.VENDOR.is_dir():
        pytest.fail("the llama.cpp sources are not here: python vendor/fetch_llama_cpp.py")
    return generate()


def test_committed_files_are_what_the_generator_writes(generated: Output) -> None:
    assert list(differing(generated.files)) == []


def test_every_public_function_is_bound_or_excluded(generated: Output) -> None:
    assert generated.unlisted == []
    bound = {name: len(module(name).SIGNATURES) for name in MODULES}
    assert bound["ggml"] + bound["backends"] >= 750
    assert bound["llama"] >= 255
    assert bound["mtmd"] >= 84


@pytest.fixture(scope="module")
def layout() -> dict[str, int]:
    """The facts as libclang computed them."""
    facts: dict[str, int] = json.loads(headers.LAYOUT.read_text(encoding="utf-8"))["facts"]
    return facts


@pytest.fixture(scope="module")
def probed(generated: Output, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The facts as this machine's compiler prints them."""
    program = tmp_path_factory.mktemp("probe") / "probe"
    includes = [f"-I{folder}" for folder in headers.include_directories()]
    command = ["cc", "-std=c11", "-Wall", *includes, "-o", str(program), str(headers.PROBE)]
    subprocess.run(command, check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    pairs = (line.rsplit(" ", 1) for line in printed.splitlines())
    return {fact: int(value) for fact, value in pairs}


def test_compiler_and_libclang_agree_on_the_layout(
    layout: dict[str, int], probed: dict[str, int]
) -> None:
    assert len(layout) > 1000
    assert probed == layout


def test_ctypes_and_libclang_agree_on_the_layout(layout: dict[str, int]) -> None:
    # Each kind of fact is there in number, or the comparison would say nothing about it.
    for question, floor in {"sizeof": 300, "alignof": 50, "offsetof": 250, "value": 450}.items():
        assert sum(fact.startswith(f"{question} ") for fact in layout) > floor
    namespace: dict[str, Any] = {}
    for name in MODULES:
        namespace |= vars(module(name))
    assert {fact: ask_ctypes(namespace, fact) for fact in layout} == layout


def ask_ctypes(namespace: dict[str, Any], fact: str) -> int:
    """Return what ctypes says of ``sizeof a.b.c``, ``offsetof a.b``, ``alignof a``, ``value A``."""
    question, _, path = fact.partition(" ")
    name, *members = path.split(".")
    if question == "value":
        value = namespace[name]
        assert isinstance(value, int)
        return value
    ctype, offset, size = namespace[name], 0, ctypes.sizeof(namespace[name])
    if question == "alignof":
        return ctypes.alignment(ctype)
    for member in members:
        descriptor = getattr(ctype, member)
        offset, size = offset + descriptor.offset, descriptor.size
        ctype = dict(ctype._fields_).get(member)
    return offset if question == "offsetof" else size


def test_all_structs_are_compared(layout: dict[str, int]) -> None:
    structs = {
        name
        for each in MODULES
        for name, value in vars(module(each)).items()
        if isinstance(value, type) and issubclass(value, ctypes.Structure)
    }
    # Records without a name in C are compared as members of those that hold them.
    nested = {"ggml_opt_optimizer_params_adamw", "ggml_opt_optimizer_params_sgd"}
    compared = {fact.removeprefix("alignof ") for fact in layout if fact.startswith("alignof ")}
    assert structs - nested - {"Structure"} == compared


@pytest.mark.parametrize("name", [name for name in MODULES if name != "backends"])
def test_every_bound_function_is_exported(name: str) -> None:
    signatures = module(name).SIGNATURES
    # A library keeps the table that it is first loaded with: all of ggml's, as elsewhere.
    table = engine.GGML_SIGNATURES if name == "ggml" else signatures
    loaded = [library.load(stem, table) for stem in LIBRARIES[name]]
    missing = [each for each in signatures if not any(one.find(each) for one in loaded)]
    assert missing == []


def test_no_excluded_function_is_exported(generated: Output) -> None:
    for each in generated.modules:
        paths = [path for path in map(library.find, LIBRARIES[each.name]) if path]
        loaded = [ctypes.CDLL(str(path)) for path in paths]
        for function, reason in each.excluded.items():
            assert not any(hasattr(one, function) for one in loaded), reason


@pytest.mark.parametrize("name", MODULES)
def test_all_names_are_there_and_no_function_is_among_them(name: str) -> None:
    namespace = module(name)
    assert len(set(namespace.__all__)) == len(namespace.__all__)
    assert [each for each in namespace.__all__ if not hasattr(namespace, each)] == []
    assert not set(namespace.__all__) & set(namespace.SIGNATURES)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("4", 4),
        ("0xFFFFFFFF", 0xFFFFFFFF),
        ("0x67676c61u", 0x67676C61),
        ("017", 15),
        ("- 1", -1),
        ("( - 1 )", -1),
        ("~ 0", -1),
        ("1 << 3 | 1", 9),
        ("1 << 2 + 1", 8),
        ("2 * ( 3 + 4 ) - 1", 13),
        ("8 - 4 - 2", 2),
        ("KNOWN + 1", 43),
        ("1.5f", 1.5),
        ('"GG" "UF"', b"GGUF"),
    ],
)
def test_macros_that_are_constants(body: str, value: object) -> None:
    assert macros.evaluate(body.split(), {"KNOWN": 42}) == value


@pytest.mark.parametrize("body", ["", "extern", "UNKNOWN + 1", "( 1", "1 2", "do { } while ( 0 )"])
def test_macros_that_are_not_constants(body: str) -> None:
    with pytest.raises(macros.NotConstantError):
        macros.evaluate(body.split(), {})


def test_a_header_that_does_not_compile_is_reported(tmp_path: Path) -> None:
    broken = tmp_path / "broken.h"
    broken.write_text("int f(undeclared x);\n")
    with pytest.raises(BindgenError, match=r"broken\.h.*undeclared"):
        parse_headers([broken], [])


def test_a_missing_header_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BindgenError, match=r"fetch_llama_cpp\.py"):
        parse_headers([tmp_path / "missing.h"], [])
