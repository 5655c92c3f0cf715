"""What documentation and errors say to install: nothing that would fetch another project."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.py")),
    *sorted((ROOT / "llama_cpp").rglob("*.py")),
]


def test_nobody_is_told_to_install_the_package_by_its_name() -> None:
    # The index has another project under it.
    told = [line for path in TEXTS for line in path.read_text("utf-8").splitlines()]
    told = [line for line in told if "pip install" in line]
    assert len(told) > 15
    by_name = re.compile(r"pip install[^`]* [\"']?llama[-_]cpp[-_]python")
    assert [line for line in told if by_name.search(line)] == []
