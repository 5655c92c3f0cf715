"""Every name that scripts import from llama-cpp-python's modules is there, and none in the way."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llama_cpp
from llama_cpp.compat.names import NAMES
from llama_cpp.errors import SymbolMissingError

FOLDER = Path(__file__).parent
TODAY: dict[str, list[str]] = json.loads((FOLDER / "names-0.3.36.json").read_text())
WILD: dict[str, Any] = json.loads((FOLDER / "names-wild.json").read_text())
GONE = "gone from the C API since 2023, still in tutorials"
STILL = ("llama_n_ctx_train", "llama_get_kv_cache_token_count")  # with a warning
IMPORTED = {
    f"{title.split(',')[0].split(' ')[0]}: {title}": names
    for title, names in WILD.items()
    if title not in ("about", GONE)
}


@pytest.mark.parametrize("module", TODAY)
def test_every_name_is_there(module: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in TODAY[module] if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("title", IMPORTED)
def test_names_of_older_versions_and_of_a_fork_are_there(title: str) -> None:
    loaded = importlib.import_module(title.split(":")[0])
    assert [name for name in IMPORTED[title] if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("name", [each for each in WILD[GONE] if each not in STILL])
def test_a_name_that_is_gone_says_todays_way(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"{name}'.* has left the C API, use .*llama_"):
        getattr(llama_cpp, name)


@pytest.mark.parametrize("module", NAMES)
def test_they_are_in_nobodys_way(module: str) -> None:
    loaded = importlib.import_module(module)
    assert set(NAMES[module]).isdisjoint(getattr(loaded, "__all__", ()))
    completed = subprocess.run(
        [sys.executable, "-c", f"import {module} as m; print(*dir(m))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    shown = set(completed.stdout.split())
    assert {name for name in NAMES[module] if name in shown and name not in USED[module]} == set()


# What these modules themselves are made with.
USED = {
    **{module: set[str]() for module in NAMES},
    "llama_cpp.mtmd_cpp": {"Any"},
    "llama_cpp.llama_cpp": {"Any"},
}


def test_dir_is_what_a_person_wants_to_see() -> None:
    shown = dir(llama_cpp)
    assert {"Llama", "AsyncLlama", "LlamaGrammar", "LogitsProcessor", "errors", "llama_decode"} < {
        *shown
    }
    assert [name for name in shown if name.startswith("_")] == ["__version__"]
    assert {"Any", "annotations", "functools", "importlib", "os", "np"}.isdisjoint(shown)
    assert {"assembly", "compat", "engine", "native", "validation"}.isdisjoint(shown)
    assert set(llama_cpp.__all__) <= {*shown}


def test_hooks_can_be_imported_from_where_packages_look() -> None:
    namespace: dict[str, Any] = {}
    exec("from llama_cpp import *", namespace)
    for module in ("llama_cpp", "llama_cpp.llama"):
        for name in ("LogitsProcessor", "StoppingCriteria"):
            assert getattr(importlib.import_module(module), name) is namespace[name]


def test_what_the_engine_has_no_longer_raises_when_it_is_called() -> None:
    from llama_cpp import llava_cpp

    with pytest.raises(SymbolMissingError, match=r"clip_free has left llama\.cpp: use .*mtmd_free"):
        llava_cpp.clip_free(1)


def test_annotations_of_ctypes_take_a_type() -> None:
    from llama_cpp import _ctypes_extensions as extensions

    for name in ("CtypesArray", "CtypesPointer", "CtypesRef", "CtypesPointerOrRef"):
        getattr(extensions, name)[int]


def test_the_version_is_one_that_packages_ask_for() -> None:
    # llama-index-llms-llama-cpp pins ">=0.3.0,<0.4", and takes three integers apart.
    assert re.fullmatch(r"0\.3\.[1-9]\d\d+", llama_cpp.__version__)
