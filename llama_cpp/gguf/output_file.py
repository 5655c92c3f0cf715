"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import LlamaError, QuantizeError, TextError

Path = str | bytes | os.PathLike[Any]


def path_text(path: Path, what: str) -> str:
    """Return a path as text.

    Raises:
        TextError: It is none.
    """
    try:
        name = os.fsdecode(path)
        os.fsencode(name)
    except (TypeError, UnicodeError):
        raise TextError(f"{what}={path!r} must be a path: a text or an os.PathLike") from None
    if not name or "\0" in name:
        raise TextError(f"{what}={path!r} must not be empty, nor have a NUL character")
    return name


def check_targets(
    targets: Iterable[str], sources: Iterable[str], needed: int, *, overwrite: bool
) -> None:
    """Refuse to write where something is that must stay, and where there is no room.

    Args:
        targets: The files that will be written, in one folder.
        sources: The files that are read.
        needed: The bytes that will be written.
        overwrite: Whether files at the targets may be replaced.

    Raises:
        QuantizeError: A target is a source, a folder, or is there already; its folder is not; or
            the disk has not enough room.
    """
    read = list(sources)
    folder = ""
    for target in targets:
        folder = os.path.dirname(target) or os.curdir
        if os.path.isdir(target):
            raise QuantizeError(f"{target!r} is a folder: give the path of a file")
        if any(_same_file(target, source) for source in read):
            raise QuantizeError(f"{target!r} is the file to read from: give another one")
        if os.path.lexists(target) and not overwrite:
            raise QuantizeError(f"{target!r} is there already: pass overwrite=True to replace it")
    if not os.path.isdir(folder):
        raise QuantizeError(f"there is no folder {folder!r} to write to: make it first")
    with suppress(OSError):  # a file system that cannot tell will say so when it is full
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise QuantizeError(
                f"{needed} bytes are needed in {folder!r}, but only {free} are free: make room, or "
                "write to another disk"
            )


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


@contextmanager
def staged(targets: Sequence[str]) -> Iterator[list[str]]:
    """Give a name to write to for each target. The targets appear when the block ends well.

    Each target is complete whenever it is there, and the first one, which a split model is loaded
    by, comes last. Whatever ends the block, no other file stays.

    Args:
        targets: Files in one folder.

    Yields:
        The names, in the same order. The last parts of the names are those of the targets.

    Raises:
        QuantizeError: The files cannot be written.
    """
    parent = os.path.dirname(targets[0]) or os.curdir
    folder = None
    placed: list[str] = []
    try:
        folder = tempfile.mkdtemp(prefix=".", suffix=".partial", dir=parent)
        drafts = [os.path.join(folder, os.path.basename(target)) for target in targets]
        yield drafts
        for draft in drafts:
            _sync(draft)
        for draft, target in reversed(list(zip(drafts, targets, strict=True))):
            os.replace(draft, target)
            placed.append(target)
    except BaseException as error:
        for target in placed:
            with suppress(OSError):
                os.unlink(target)
        if isinstance(error, OSError) and not isinstance(error, LlamaError):
            raise QuantizeError(
                f"{targets[0]!r} cannot be written: {error.strerror or error}. Nothing was left "
                "behind."
            ) from error
        raise
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    _sync_folder(parent)


def _sync(path: str) -> None:
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(path: str) -> None:
    with suppress(OSError):  # Windows opens no folders, and some file systems sync none
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
