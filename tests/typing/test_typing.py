"""A program of a user passes type checkers, and they know the precise types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("user_program.py")

WRONG = """
from llama_cpp import Llama

llm = Llama("m.gguf", n_ctx="many")
llm("Hi")["choices"][0]["txt"]
for part in llm("Hi"):
    part["choices"]
llm("Hi", temprature=1.0)
llm.create_chat_completion([{"role": "user"}], stream=True)["choices"]
llm.run([{"role": "user"}], [3])
llm.run([{"role": "user"}], [print], functions=[])
"""


def mypy(path: Path) -> list[str]:
    return [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(path)]


def pyright(path: Path) -> list[str]:
    return [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(path)]


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_the_program_is_typed(checker: type, tmp_path: Path) -> None:
    # Elsewhere than the sources, as a user's program is.
    program = tmp_path / PROGRAM.name
    program.write_text(PROGRAM.read_text())
    done = subprocess.run(checker(program), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_mistakes_are_found(checker: type, tmp_path: Path) -> None:
    program = tmp_path / "wrong.py"
    program.write_text(WRONG)
    done = subprocess.run(checker(program), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = {
        line.split(":")[1]
        for line in done.stdout.splitlines()
        if " error: " in line or "- error" in line
    }
    assert lines >= {"4", "5", "7", "8", "9", "10", "11"}, done.stdout
