"""The ``openai`` package of npm against the server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_kit import RunningServer, serving

FOLDER = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def packages() -> Iterator[None]:
    """What ``package.json`` names, installed beside it once."""
    if not (FOLDER / "node_modules" / "openai").is_dir():
        npm = shutil.which("npm")
        assert npm is not None, "Node.js with npm is needed for this test: install nodejs and npm"
        subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],
            cwd=FOLDER, check=True,
        )  # fmt: skip
    yield


def slots_are_free(server: RunningServer) -> bool:
    headers = {"Authorization": "Bearer right"}
    return not any(s["is_processing"] for s in server.get("/slots", headers=headers).json())


@pytest.mark.usefixtures("packages")
def test_every_call_of_the_package() -> None:
    with serving({"n_parallel": 2}, api_key="right") as server:
        finished = subprocess.run(
            ["node", "client.mjs", server.url], cwd=FOLDER, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert finished.returncode == 0, finished.stderr
        while not slots_are_free(server):
            pass
    assert json.loads(finished.stdout) == [
        "completion", "chat", "streamed chat", "tools", "streamed tools", "JSON schema",
        "embeddings", "responses", "models", "a wrong key", "an abort in mid-stream",
    ]  # fmt: skip
