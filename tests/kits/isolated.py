"""Test cases that run in a process of their own, so that a crash is the failure of one case.

A module registers its cases and has one test for them::

    cases = Cases(__file__)

    @cases.add
    def closed_model_is_refused(files: Files) -> None: ...

    @pytest.mark.parametrize("name", cases.names)
    def test_bad_input(name: str, outcomes: Outcomes) -> None:
        outcomes.check(name)

All cases of a module share a process. After each one a decode must still give the same result as
at the start. A case that kills the process is named, and the rest goes on in a new process.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from handles_kit import decode, open_context

from llama_cpp.handles.model import Model

TIME_LIMIT_S = 120.0
PASSED = "passed"
# Without it ggml starts a debugger at every abort, which takes seconds.
QUIET_ABORT = {"GGML_NO_BACKTRACE": "1"}


@dataclass(frozen=True)
class Files:
    """The tiny models, and a folder to write to."""

    folder: Path
    scratch: Path

    @cached_property
    def model(self) -> Model:
        """The llama model, loaded once per process. A case must not close it."""
        return Model(self.llama)

    @property
    def llama(self) -> Path:
        return self.folder / "llama.gguf"

    @property
    def bert(self) -> Path:
        return self.folder / "bert.gguf"

    @property
    def mamba(self) -> Path:
        return self.folder / "mamba.gguf"

    @property
    def t5(self) -> Path:
        return self.folder / "t5.gguf"

    @property
    def lora(self) -> Path:
        return self.folder / "lora.gguf"

    @property
    def classifier(self) -> Path:
        return self.folder / "classifier.gguf"


Case = Callable[[Files], None]
RunPython = Callable[..., subprocess.CompletedProcess[str]]
"""What the fixture ``run_python`` is."""


class Cases:
    """The cases of one module."""

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self.functions: dict[str, Case] = {}

    def add(self, case: Case) -> Case:
        assert case.__name__ not in self.functions, f"{case.__name__} is there twice"
        self.functions[case.__name__] = case
        return case

    @property
    def names(self) -> list[str]:
        return list(self.functions)


@dataclass
class Outcomes:
    """What became of the cases of a module: PASSED, or the reason why not."""

    by_name: dict[str, str] = field(default_factory=dict)
    output: str = ""

    def check(self, name: str) -> None:
        assert self.by_name[name] == PASSED, self.by_name[name]


def run_cases(cases: Cases, folder: Path, scratch: Path) -> Outcomes:
    """Run every case, in as many processes as there are crashes and one more."""
    outcomes = Outcomes()
    while remaining := [name for name in cases.names if name not in outcomes.by_name]:
        journal = scratch / "journal.jsonl"
        journal.write_text("", encoding="utf-8")
        arguments = [str(cases.file), str(folder), str(scratch), *remaining]
        finished = run_interpreter([__file__, *arguments])
        outcomes.output += finished.stdout + finished.stderr
        last = ""
        for line in journal.read_text(encoding="utf-8").splitlines():
            last, outcome = json.loads(line)
            outcomes.by_name[last] = outcome
        if finished.returncode:
            # Before the first case begins, the module could not be imported: blame them all.
            blamed = [last] if last else remaining
            reason = f"{how_it_ended(finished)}\n{finished.stderr[-4000:]}"
            outcomes.by_name.update(dict.fromkeys(blamed, reason))
    return outcomes


def run_interpreter(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments. A process that takes too long is killed: SIGKILL."""
    command = [sys.executable, "-X", "faulthandler", "-W", "error", *arguments]
    environment = {**os.environ, **QUIET_ABORT, "PYTHONPATH": str(Path(__file__).parent)}
    try:
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output, errors = (
            part.decode("utf-8", "replace") if isinstance(part, bytes) else part or ""
            for part in (late.stdout, late.stderr)
        )
        return subprocess.CompletedProcess(command, -signal.SIGKILL, output, errors)


def how_it_ended(finished: subprocess.CompletedProcess[str]) -> str:
    if finished.returncode == -signal.SIGKILL:
        return f"the process was killed: by the time limit of {TIME_LIMIT_S} s, or out of memory"
    if finished.returncode < 0:
        return f"the process died of {signal.Signals(-finished.returncode).name}"
    return f"the process ended with {finished.returncode}"


def _main(file: str, folder: str, scratch: str, *names: str) -> None:
    faulthandler.enable()
    spec = importlib.util.spec_from_file_location("cases_of_this_process", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files = Files(Path(folder), Path(scratch))
    context = open_context(files.model)
    expected = decode(context)
    with (Path(scratch) / "journal.jsonl").open("a", encoding="utf-8") as journal:

        def note(name: str, outcome: str) -> None:
            journal.write(json.dumps([name, outcome]) + "\n")
            journal.flush()

        for name in names:
            note(name, "the process ended in this case")
            try:
                module.cases.functions[name](files)
                context.memory.clear()
                assert np.array_equal(decode(context), expected), (
                    "a later decode gives other logits"
                )
            except BaseException:
                note(name, traceback.format_exc())
            else:
                note(name, PASSED)


if __name__ == "__main__":
    _main(*sys.argv[1:])
