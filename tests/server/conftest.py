"""The server of most tests: tinychat, eight requests at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_kit import RunningServer, serving


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    with serving({"n_parallel": 8}) as running:
        yield running
