from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compat")


@pytest.fixture(scope="session")
def model(tiny_llama: Path) -> Iterator[Any]:
    """A tiny llama, as the raw functions know it."""
    raw: Any = importlib.import_module("llama_cpp.llama_cpp")
    loaded = raw.llama_model_load_from_file(bytes(tiny_llama), raw.llama_model_default_params())
    yield loaded
    raw.llama_model_free(loaded)
