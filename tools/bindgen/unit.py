"""The headers as libclang sees them: one translation unit, or a clear reason why there is none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from clang.cindex import (
    Cursor,
    CursorKind,
    Diagnostic,
    Index,
    TranslationUnit,
    TranslationUnitLoadError,
    Type,
    TypeKind,
)

__all__ = [
    "BindgenError",
    "Cursor",
    "CursorKind",
    "Type",
    "TypeKind",
    "header_of",
    "is_function_like",
    "parse_headers",
    "top_level",
]


class BindgenError(Exception):
    """The bindings cannot be generated; the message says what to do."""


def parse_headers(headers: Sequence[Path], directories: Sequence[Path]) -> TranslationUnit:
    """Parse all headers together, as a C program that includes each of them would.

    Raises:
        BindgenError: A header is missing, or does not compile.
    """
    for header in headers:
        if not header.is_file():
            raise BindgenError(f"{header} is missing: run `python vendor/fetch_llama_cpp.py` first")
    program = "".join(f'#include "{header.as_posix()}"\n' for header in headers)
    arguments = ["-xc", "-std=c11", f"-isystem{_compiler_headers()}"]
    arguments += [f"-I{directory.as_posix()}" for directory in directories]
    try:
        unit = Index.create().parse(
            "bindings.c",
            arguments,
            unsaved_files=[("bindings.c", program)],
            options=TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD,
        )
    except TranslationUnitLoadError as error:
        raise BindgenError(f"libclang could not parse the headers: {error}") from error
    errors = [str(found) for found in unit.diagnostics if found.severity >= Diagnostic.Error]
    if errors:
        raise BindgenError("libclang reports errors in the headers:\n  " + "\n  ".join(errors))
    return unit


def _compiler_headers() -> str:
    # The libclang wheel has no stddef.h and friends of its own.
    command = [os.environ.get("CC", "cc"), "-print-file-name=include"]
    try:
        folder = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise BindgenError(f"`{' '.join(command)}` failed: a C compiler is needed") from error
    if not (Path(folder) / "stddef.h").is_file():
        raise BindgenError(f"`{' '.join(command)}` names {folder}, which has no stddef.h")
    return folder


def top_level(unit: TranslationUnit) -> Iterator[Cursor]:
    """Yield what the translation unit declares and defines, macros included."""
    yield from unit.cursor.get_children()


def header_of(cursor: Cursor) -> Path | None:
    """Return the file that a declaration is in, or None for what the compiler defines."""
    file = cursor.location.file
    return None if file is None else Path(file.name)


def is_function_like(macro: Cursor) -> bool:
    """Tell ``#define F(x)`` from ``#define F (x)``, which only the space sets apart."""
    tokens = list(macro.get_tokens())
    if len(tokens) < 2 or tokens[1].spelling != "(":
        return False
    return bool(tokens[1].extent.start.offset == tokens[0].extent.end.offset)
