"""The tiny models, written once per session, and processes of their own for what may crash."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
from isolated import Outcomes, RunPython, how_it_ended, run_cases, run_interpreter

from llama_cpp.handles.model import Model

VOCABULARIES = Path(__file__).parents[1] / "vendor" / "llama.cpp" / "models"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def tiny_llama(tiny_folder: Path) -> Path:
    return tiny_models.write_llama(tiny_folder / "llama.gguf")


@pytest.fixture(scope="session")
def tiny_llama_bpe(tiny_folder: Path) -> Path:
    vocab_file = VOCABULARIES / "ggml-vocab-gpt-2.gguf"
    return tiny_models.write_llama(tiny_folder / "bpe.gguf", vocab="bpe", vocab_file=vocab_file)


@pytest.fixture(scope="session")
def tiny_bert(tiny_folder: Path) -> Path:
    return tiny_models.write_bert(tiny_folder / "bert.gguf")


@pytest.fixture(scope="session")
def tiny_mamba(tiny_folder: Path) -> Path:
    return tiny_models.write_mamba(tiny_folder / "mamba.gguf")


@pytest.fixture(scope="session")
def tiny_t5(tiny_folder: Path) -> Path:
    return tiny_models.write_t5(tiny_folder / "t5.gguf")


@pytest.fixture(scope="session")
def tiny_lora(tiny_folder: Path) -> Path:
    return tiny_models.write_lora(tiny_folder / "lora.gguf")


@pytest.fixture(scope="session")
def tiny_classifier(tiny_folder: Path) -> Path:
    return tiny_models.write_classifier(tiny_folder / "classifier.gguf")


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
