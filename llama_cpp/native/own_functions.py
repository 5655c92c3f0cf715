"""Helpers that scripts use to load a library and declare its functions by decorator."""

from __future__ import annotations

import ctypes
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import LibraryNotFoundError
from .library import add_dll_folders, explain, file_names

F = TypeVar("F", bound=Callable[..., Any])


def load_shared_library(lib_base_name: str, base_path: pathlib.Path | str) -> ctypes.CDLL:
    """Load a shared library from a folder.

    Args:
        lib_base_name: Its name without prefix and suffix.
        base_path: The folder.

    Raises:
        LibraryNotFoundError: It, or something that it depends on, is not there.
        LibraryError: It cannot be loaded.
    """
    folder = pathlib.Path(base_path)
    candidates = [folder / name for name in file_names(lib_base_name)]
    for path in candidates:
        if path.exists():
            add_dll_folders(folder)
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                raise explain(path, error) from error
    tried = ", ".join(map(str, candidates))
    raise LibraryNotFoundError(f"there is no shared library {lib_base_name!r}. Tried: {tried}")


def ctypes_function_for_shared_library(
    lib: ctypes.CDLL,
) -> Callable[..., Callable[[F], F]]:
    """Return a decorator that turns a Python signature into a function of ``lib``."""

    def ctypes_function(
        name: str, argtypes: list[Any], restype: Any, enabled: bool = True
    ) -> Callable[[F], F]:
        """Replace the decorated function by the native ``name``, if ``enabled``."""

        def decorate(declaration: F) -> F:
            if not enabled:
                return declaration
            # Not lib[name]: a Library would give it the types of its own tables.
            function: Any = ctypes.CDLL(lib._name, handle=lib._handle)[name]
            function.argtypes = argtypes
            function.restype = restype
            function.__doc__ = declaration.__doc__
            return function  # type: ignore[no-any-return]

        return decorate

    return ctypes_function
