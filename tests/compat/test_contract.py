"""The names, values and signatures of llama-cpp-python 0.3.36 and of its docs of May 2025.

The two JSON files record facts: which names a module has, how many arguments a C function takes,
which fields a struct has, how Python parameters are called and what they default to.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import llama_cpp
from llama_cpp import llama_cpp as raw
from llama_cpp import llama_types, mtmd_cpp
from llama_cpp.native.bind import Function, Library

FOLDER = Path(__file__).parent
TODAY: dict[str, dict[str, Any]] = json.loads((FOLDER / "api-0.3.36.json").read_text("utf-8"))
MAY_2025: dict[str, list[str]] = json.loads((FOLDER / "api-may-2025.json").read_text("utf-8"))

MODULES = sorted(TODAY)
RAW_MODULES = ("llama_cpp.llama_cpp", "llama_cpp.mtmd_cpp")


def listed(module: str, kind: str) -> dict[str, Any]:
    """What the contract says of each name of one kind."""
    return {name: fact for name, fact in TODAY[module].items() if fact["kind"] == kind}


def missing(owner: Any, names: list[str]) -> list[str]:
    return [name for name in names if not hasattr(owner, name)]


def test_contract_is_not_empty() -> None:
    assert len(TODAY["llama_cpp.llama_cpp"]) == 506
    assert len(TODAY["llama_cpp.mtmd_cpp"]) == 124
    assert len(TODAY["llama_cpp._internals"]) == 66
    assert len(MAY_2025["gone_from_llama_h_since"]) == 35


@pytest.mark.parametrize("module", MODULES)
def test_module_has_every_name(module: str) -> None:
    assert missing(importlib.import_module(module), list(TODAY[module])) == []


@pytest.mark.parametrize("names", sorted(MAY_2025))
def test_names_of_may_2025_are_there(names: str) -> None:
    assert missing(raw, MAY_2025[names]) == []
    assert missing(llama_cpp, MAY_2025[names]) == []


def test_raw_names_are_on_the_package_too() -> None:
    # Identity, for what has one: a struct of the root is the struct of the raw module.
    names = [name for name in TODAY["llama_cpp.llama_cpp"] if name != "TYPE_CHECKING"]
    assert [name for name in names if getattr(llama_cpp, name) != getattr(raw, name)] == []


def test_names_of_other_modules_that_the_package_has() -> None:
    assert [
        name
        for name in TODAY["llama_cpp.llama_types"]
        if getattr(llama_cpp, name) is not getattr(llama_types, name)
    ] == []
    assert missing(llama_cpp, ["set_verbose", "suppress_stdout_stderr", "__version__"]) == []


@pytest.mark.parametrize("module", MODULES)
def test_constants_have_the_same_values(module: str) -> None:
    facts = listed(module, "constant")
    loaded = importlib.import_module(module)
    assert {name: getattr(loaded, name) for name in facts} == {
        name: fact["value"] for name, fact in facts.items()
    }


@pytest.mark.parametrize("module", RAW_MODULES)
def test_structs_have_the_same_fields(module: str) -> None:
    lacking = {}
    for name, fact in listed(module, "struct").items():
        struct = getattr(importlib.import_module(module), name)
        assert issubclass(struct, ctypes.Structure), name
        lacking[name] = missing(struct, fact["fields"])
    assert {name: fields for name, fields in lacking.items() if fields} == {}


@pytest.mark.parametrize("module", RAW_MODULES)
def test_c_functions_take_as_many_arguments(module: str) -> None:
    loaded = importlib.import_module(module)
    facts = listed(module, "c_function")
    functions = {name: getattr(loaded, name) for name in facts}
    assert [name for name, value in functions.items() if not isinstance(value, Function)] == []
    assert {name: len(function.argtypes) for name, function in functions.items()} == {
        name: fact["n_args"] for name, fact in facts.items()
    }
    assert {name: len(function.parameters) for name, function in functions.items()} == {
        name: fact["n_args"] for name, fact in facts.items()
    }


@pytest.mark.parametrize("module", MODULES)
def test_functions_take_the_same_parameters(module: str) -> None:
    loaded = importlib.import_module(module)
    found = [
        difference
        for name, fact in listed(module, "function").items()
        for difference in differences(getattr(loaded, name), fact["params"])
    ]
    assert found == []


@pytest.mark.parametrize("module", MODULES)
def test_classes_have_the_same_members(module: str) -> None:
    found = []
    for name, fact in listed(module, "class").items():
        own = getattr(importlib.import_module(module), name)
        assert isinstance(own, type), name
        for member, params in fact.get("members", {}).items():
            value = getattr(own, member, None)
            if params == "property":
                found += [] if isinstance(value, property) else [f"{name}.{member} no property"]
            elif callable(value):
                found += [f"{name}.{text}" for text in differences(value, params, member)]
            else:
                found.append(f"{name}.{member} is not there, or no method")
    assert found == []


def differences(function: Any, contract: list[dict[str, Any]], name: str = "") -> list[str]:
    """Say where a call that the contract allows would fail, or mean something else."""
    name = name or function.__name__
    own = [p for p in inspect.signature(function).parameters.values() if p.name not in OWNERS]
    theirs = [p for p in contract if p["name"] not in OWNERS]
    found = []
    for index, fact in enumerate(theirs):
        # Programs pass by name what was by position only: llama-cpp-python once took names.
        match = next((p for p in own if p.name == fact["name"]), None)
        if match is None:
            found.append(f"{name} lacks {fact['name']}")
        elif own.index(match) != index and fact.get("kind") not in _ANYWHERE:
            found.append(f"{name} takes {fact['name']} at position {own.index(match)}")
        elif not takes(match, fact):
            found.append(f"{name} takes {match} instead of {fact}")
    extra = own[len(theirs) :]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found += [
        f"{name} needs {p.name}" for p in extra if p.default is p.empty and p.kind not in variadic
    ]
    return found


OWNERS = ("self", "cls")
# On purpose: docs/architecture.md says why.
OTHER_DEFAULTS = {"flash_attn": "auto"}
_ANYWHERE = ("keyword_only", "var_keyword")


def takes(own: inspect.Parameter, fact: dict[str, Any]) -> bool:
    """Whether a parameter can be passed, and left out, as the contract says."""
    kind = fact.get("kind", "positional_or_keyword")
    if kind in ("positional_only", "keyword_only"):
        allowed = {kind, "positional_or_keyword"}
    else:
        allowed = {kind}
    if own.kind.name.lower() not in allowed:
        return False
    if "default" not in fact:
        return True
    if own.default is own.empty:
        return False
    # "<object>" stands for what JSON cannot write.
    default = OTHER_DEFAULTS.get(own.name, fact["default"])
    return default == "<object>" or bool(own.default == default)


@pytest.mark.parametrize("name", ["llama_types", "_utils", "_ggml", "llama_cpp", "mtmd_cpp"])
def test_submodules_are_attributes_of_the_package(name: str) -> None:
    assert getattr(llama_cpp, name) is importlib.import_module(f"llama_cpp.{name}")


@pytest.mark.parametrize("module", ["llama_cpp", *RAW_MODULES])
def test_star_import_brings_every_public_name(module: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"from {module} import *", namespace)
    prefixes = ("llama_", "LLAMA_", "mtmd_", "MTMD_", "ggml_", "GGML_")
    names = TODAY[module if module in TODAY else "llama_cpp.llama_cpp"]
    assert [each for each in names if each.startswith(prefixes) and each not in namespace] == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("llama_n_ctxx", "llama_n_ctx"),
        ("llama_kv_self_seq_rn", "llama_kv_self_seq_rm"),
        ("ChatCompletionTools", "ChatCompletionTool"),
    ],
)
def test_unknown_name_says_what_was_probably_meant(name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"'llama_cpp' has no attribute '{name}'.*'{meant}'"):
        getattr(llama_cpp, name)


def test_unknown_name_without_a_likeness_gets_no_hint() -> None:
    with pytest.raises(AttributeError) as caught:
        _ = raw.Xyzzy
    assert str(caught.value) == "module 'llama_cpp.llama_cpp' has no attribute 'Xyzzy'"
    with pytest.raises(AttributeError, match=r"mtmd_cpp.*Did you mean 'mtmd_tokenize'"):
        _ = mtmd_cpp.mtmd_tokenise


def test_the_loaded_libraries_are_reachable() -> None:
    from llama_cpp._ggml import libggml

    assert isinstance(raw._lib, Library)
    assert isinstance(mtmd_cpp._libmtmd, Library)
    assert isinstance(libggml.ggml_backend_load_all, Function)
