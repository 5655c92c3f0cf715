"""The tiny models, written once per session, and processes of their own for what may crash."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from isolated import Outcomes, RunPython, how_it_ended, run_cases, run_interpreter
from zoo import Zoo

from llama_cpp.handles.model import Model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def zoo(tiny_folder: Path) -> Zoo:
    """Every tiny model, each written when a test first asks for it."""
    return Zoo(tiny_folder)


@pytest.fixture(scope="session")
def tiny_llama(zoo: Zoo) -> Path:
    return zoo.llama


@pytest.fixture(scope="session")
def tiny_llama_bpe(zoo: Zoo) -> Path:
    return zoo.llama_bpe


@pytest.fixture(scope="session")
def tiny_bert(zoo: Zoo) -> Path:
    return zoo.bert


@pytest.fixture(scope="session")
def tiny_mamba(zoo: Zoo) -> Path:
    return zoo.mamba


@pytest.fixture(scope="session")
def tiny_t5(zoo: Zoo) -> Path:
    return zoo.t5


@pytest.fixture(scope="session")
def tiny_lora(zoo: Zoo) -> Path:
    return zoo.lora


@pytest.fixture(scope="session")
def tiny_classifier(zoo: Zoo) -> Path:
    return zoo.classifier


@pytest.fixture(scope="session")
def model(tiny_llama: Path) -> Iterator[Model]:
    """The llama model for all tests: none may close it."""
    with Model(tiny_llama) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def run_python() -> RunPython:
    """Run code in a fresh interpreter; its arguments are in ``sys.argv[1:]``."""

    def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        finished = run_interpreter(["-c", code, *map(str, arguments)])
        if finished.returncode:
            pytest.fail(f"{how_it_ended(finished)}\n{finished.stderr}\n{finished.stdout}")
        return finished

    return run


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_folder: Path,
    tiny_llama: Path,
    tiny_bert: Path,
    tiny_mamba: Path,
    tiny_t5: Path,
    tiny_lora: Path,
    tiny_classifier: Path,
) -> Outcomes:
    """What became of the module's ``cases``, see ``isolated``."""
    return run_cases(request.module.cases, tiny_folder, tmp_path_factory.mktemp("scratch"))
