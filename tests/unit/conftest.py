"""What the unit tests share: the settings of hypothesis, and files with given bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf_bytes import Save
from hypothesis import HealthCheck, settings

# A busy machine makes nothing wrong.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write bytes to a file and return its path."""

    def write(content: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return path

    return write
