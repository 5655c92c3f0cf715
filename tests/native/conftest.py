"""Models that only the tests of the native layers use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_kit import open_llama
from minilm import write_minilm
from zoo import Zoo

from llama_cpp.llama import Llama


@pytest.fixture(scope="session")
def tiny_image_mmproj(zoo: Zoo) -> Path:
    return zoo.image_mmproj


@pytest.fixture(scope="session")
def tiny_audio_mmproj(zoo: Zoo) -> Path:
    return zoo.audio_mmproj


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = write_minilm(tmp_path_factory.mktemp("minilm") / "minilm.gguf")
    yield path
    path.unlink()  # 90 MB, and pytest keeps the folders of several runs


@pytest.fixture(scope="module")
def shared(zoo: Zoo) -> Iterator[Llama]:
    """A small model for a file of tests."""
    with open_llama(zoo.llama) as model:
        yield model


@pytest.fixture
def llm(shared: Llama) -> Llama:
    """The same, with an empty sequence 0."""
    shared.reset()
    return shared
