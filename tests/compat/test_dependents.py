"""Every name that packages of the index import from ``llama_cpp``, or touch on it, is there.

``tests/requirements-dependents.txt`` lists the packages, which ``make test`` puts into a folder of
their own. Their source is read: to import them would take their dependencies, several GB.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
FOLDER = TESTS / ".cache" / "dependents"
LINES = (TESTS / "requirements-dependents.txt").read_text("utf-8").splitlines()
PACKAGES = [line.partition("==")[0] for line in LINES if line[:1] not in ("", "#")]


@pytest.fixture(scope="module")
def installed() -> dict[str, Distribution]:
    found = {each.metadata["Name"]: each for each in distributions(path=[str(FOLDER)])}
    return {name.lower().replace("_", "-"): each for name, each in found.items()}


def names_in(source: str) -> set[str]:
    """What a module takes from ``llama_cpp``, as full names."""
    tree = ast.parse(source)
    bound = list(bindings(tree))
    places = dict(bound)
    names = {full for _, full in bound}
    for node in ast.walk(tree):
        root, *path = ast.unparse(node).split(".") if is_dotted(node) else [""]
        if path and root in places:
            names.add(".".join([places[root], *path]))
    return names


def bindings(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Names that imports of ``llama_cpp`` bind, and what to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "llama_cpp":
                    yield "", alias.name
                    yield alias.asname or "llama_cpp", alias.name if alias.asname else "llama_cpp"
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            if module.split(".")[0] == "llama_cpp":
                for alias in node.names:
                    name = module if alias.name == "*" else f"{module}.{alias.name}"
                    yield alias.asname or alias.name, name


def is_dotted(node: ast.AST) -> bool:
    """Whether an expression is ``a.b.c``, and nothing else."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def is_there(name: str) -> bool:
    """Whether a full name means something: attributes, or modules where there is no attribute."""
    value: Any = importlib.import_module("llama_cpp")
    path = name.split(".")
    for end, part in enumerate(path[1:], 2):
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = importlib.import_module(".".join(path[:end]))
            except ImportError:
                return False
    return True


def test_names_are_read_from_the_source() -> None:
    source = """
import llama_cpp
import llama_cpp.llama_types as t
import llama_cpp.server.app
from llama_cpp import Llama, llama_cpp as raw
from .llama_cpp import Own
from other import llama_cpp as theirs
llama_cpp.llama_decode(theirs.no_name, Own.no_name, Llama().no_name, self.llama_cpp.no_name)
raw._lib.llama_tokenize; t.Completion; Llama.from_pretrained
"""
    assert names_in(source) == {
        "llama_cpp", "llama_cpp.llama_types", "llama_cpp.server.app", "llama_cpp.Llama",
        "llama_cpp.llama_cpp", "llama_cpp.llama_decode", "llama_cpp.llama_cpp._lib",
        "llama_cpp.llama_cpp._lib.llama_tokenize", "llama_cpp.llama_types.Completion",
        "llama_cpp.Llama.from_pretrained",
    }  # fmt: skip


def test_what_is_not_there_is_noticed() -> None:
    assert is_there("llama_cpp.llama_cpp._lib.llama_tokenize")
    assert is_there("llama_cpp.server.app.create_app")
    assert not is_there("llama_cpp.Lama")
    assert not is_there("llama_cpp.Llama.no_method")
    assert not is_there("llama_cpp.no_module.create_app")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_that_a_package_uses_is_there(
    package: str, installed: dict[str, Distribution]
) -> None:
    assert package in installed, f"{package} is not in {FOLDER}: run `make test`, which gets it"
    names: set[str] = set()
    for file in installed[package].files or ():
        if file.suffix == ".py" and "llama_cpp" in (source := file.read_text("utf-8")):
            names |= names_in(source)
    assert names
    assert sorted(name for name in names if not is_there(name)) == []
