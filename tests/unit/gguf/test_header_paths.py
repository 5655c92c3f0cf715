"""The GGUF header reader: paths that lead to no readable file."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gguf_bytes import (
    SMALL,
    Save,
)

from llama_cpp import errors
from llama_cpp.gguf import reader
from llama_cpp.gguf.header import read_header


def test_path_kinds(save: Save) -> None:
    path = save(SMALL)
    expected = read_header(path)
    assert read_header(str(path)) == expected
    assert read_header(os.fsencode(path)) == expected


def test_path_outside_of_ascii(tmp_path: Path) -> None:
    path = tmp_path / "modèle 模型.gguf"
    path.write_bytes(SMALL)
    assert read_header(path).architecture == "llama"


@pytest.mark.parametrize("path", [None, 3, 1.5])
def test_path_of_another_type(path: Any) -> None:
    with pytest.raises(TypeError):
        read_header(path)


@pytest.mark.parametrize("path", ["a\0b.gguf", b"a\0b.gguf"])
def test_path_with_nul(path: str | bytes) -> None:
    with pytest.raises(errors.TextError, match="NUL"):
        read_header(path)


def test_path_that_cannot_be_encoded() -> None:
    with pytest.raises(errors.TextError, match="cannot be encoded"):
        read_header("\ud800.gguf")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFoundError, match=r"missing\.gguf"):
        read_header(tmp_path / "missing.gguf")


def test_file_used_as_folder(save: Save) -> None:
    with pytest.raises(errors.ModelNotFoundError):
        read_header(save(SMALL) / "model.gguf")


def test_empty_path() -> None:
    with pytest.raises(errors.ModelNotFoundError):
        read_header("")


def test_tilde_is_not_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").write_bytes(SMALL)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with pytest.raises(errors.ModelNotFoundError, match="'~' is not expanded"):
        read_header("~/model.gguf")


def test_dangling_link(tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(tmp_path / "gone.gguf")
    with pytest.raises(errors.ModelNotFoundError, match="link whose target is missing"):
        read_header(link)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelIsDirectoryError, match="folder"):
        read_header(tmp_path)


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(errors.ModelLoadError, match="pipe"):
        read_header(tmp_path / "pipe.gguf")


def test_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelLoadError, match="gguf"):
        read_header(tmp_path / ("x" * 5000 + ".gguf"))


READ_AS_NOBODY = """
import os, sys
sys.path[:] = os.environ["IMPORT_PATH"].split(os.pathsep)
from llama_cpp import errors
from llama_cpp.gguf.header import read_header
if os.geteuid() == 0:
    os.seteuid(65534)  # root may read everything
try:
    read_header(sys.argv[1])
except errors.ModelPermissionError as error:
    print(error)
"""


def test_file_without_read_permission(save: Save) -> None:
    path = save(SMALL)
    path.chmod(0)
    environment = {**os.environ, "IMPORT_PATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", READ_AS_NOBODY, str(path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "may not be read" in result.stdout


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), errors.ModelPermissionError),
        (FileNotFoundError(errno.ENOENT, "deleted meanwhile"), errors.ModelNotFoundError),
        (OSError(errno.EIO, "Input/output error"), errors.ModelLoadError),
        (OSError("without a number"), errors.ModelLoadError),
    ],
)
@pytest.mark.parametrize("step", ["open", "stat"])
def test_failures_of_the_operating_system(
    save: Save,
    monkeypatch: pytest.MonkeyPatch,
    failure: OSError,
    expected: type[Exception],
    step: str,
) -> None:
    def fail(*_: object) -> None:
        raise failure

    path = save(SMALL)
    with monkeypatch.context() as patched:
        if step == "open":
            patched.setattr(reader, "open", fail, raising=False)
        else:
            patched.setattr(os, "stat", fail)
        with pytest.raises(errors.ModelLoadError) as caught:
            read_header(path)
    assert type(caught.value) is expected
    assert caught.value.__cause__ is failure


class BrokenFile(io.FileIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


class ShrinkingFile(io.FileIO):
    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(40 - self.tell())


@pytest.mark.parametrize(
    ("file_class", "expected", "message"),
    [
        (BrokenFile, errors.ModelLoadError, "Input/output error"),
        (ShrinkingFile, errors.TruncatedModelError, "has 40 bytes"),
    ],
)
def test_failures_while_reading(
    save: Save,
    monkeypatch: pytest.MonkeyPatch,
    file_class: type[io.FileIO],
    expected: type[Exception],
    message: str,
) -> None:
    monkeypatch.setattr(reader, "open", file_class, raising=False)
    with pytest.raises(expected, match=message) as caught:
        read_header(save(SMALL))
    assert type(caught.value) is expected


# Files that are not GGUF
