"""Interpreters and libraries of their own for the tests of the loader."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from llama_cpp.native import library


def run_python(code: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter, with the libraries of a folder.

    Args:
        code: The program.
        folder: The folder; None for the one of this installation.
    """
    environment = dict(os.environ)
    environment.pop(library.PATH_VARIABLE, None)
    if folder is not None:
        environment[library.PATH_VARIABLE] = str(folder)
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def output(code: str, folder: Path | None = None) -> str:
    """What a program prints that succeeds."""
    done = run_python(code, folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def failure(code: str, folder: Path) -> str:
    """The error of a program that ends with one of ours, and prints nothing else."""
    done = run_python(code, folder)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("Traceback")
    assert "Exception ignored" not in done.stderr
    return done.stderr[done.stderr.rindex("llama_cpp.errors.") :]


def compile_library(source: str, target: Path) -> Path:
    """Make a shared library from C code."""
    file = target.with_suffix(".c")
    file.write_text(source)
    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{target.name}", "-o"]
    subprocess.run([*command, str(target), str(file)], check=True)
    return target
