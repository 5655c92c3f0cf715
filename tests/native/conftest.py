"""Models that only the tests of the native layers use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from minilm import write_minilm
from zoo import Zoo


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
