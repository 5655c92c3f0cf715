"""What the tests of the GGUF header reader share."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf_bytes import Save


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write bytes to a file and return its path."""

    def write(content: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return path

    return write
