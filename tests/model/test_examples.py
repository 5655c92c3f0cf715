"""The examples run as they stand, on the bundled model, and say what they should."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PLANETS = "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, and Neptune."


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("high_level_api/completion.py", PLANETS),
        ("high_level_api/chat.py", 'get_weather({"city": "Oslo"})'),
        ("high_level_api/structured_output.py", "Jason will be 26."),
        ("low_level_api/raw_loop.py", PLANETS),
        ("low_level_api/handles_loop.py", PLANETS),
        ("low_level_api/chat_loop.py", "Oslo"),
    ],
)
def test_prints_what_it_promises_and_nothing_else(name: str, expected: str) -> None:
    result = run(name)
    assert result.returncode == 0, result.stderr
    assert expected in result.stdout
    assert not result.stderr


def test_the_examples_of_structured_output_hold(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (EXAMPLES.parent / "docs" / "structured.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > 4
    # One after the other, as in a session: classes find what their annotations name in a module.
    module = types.ModuleType("structured_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    code = compile("\n".join(blocks), "docs/structured.md", "exec", dont_inherit=True)
    exec(code, module.__dict__)
    module.llm.close()
    assert "{'name': 'Jason', 'age': 25}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", [str(path.relative_to(EXAMPLES)) for path in sorted(EXAMPLES.glob("*/*.py"))]
)
def test_says_in_one_line_that_there_is_no_such_model(name: str) -> None:
    result = run(name, "nothing.gguf")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "nothing.gguf" in result.stderr
