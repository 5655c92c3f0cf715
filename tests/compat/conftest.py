from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_models import write_llama


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compat")


@pytest.fixture(scope="session")
def model(folder: Path) -> Iterator[Any]:
    """A tiny llama, as the raw functions know it."""
    raw: Any = importlib.import_module("llama_cpp.llama_cpp")
    path = write_llama(folder / "llama.gguf")
    loaded = raw.llama_model_load_from_file(bytes(path), raw.llama_model_default_params())
    yield loaded
    raw.llama_model_free(loaded)
