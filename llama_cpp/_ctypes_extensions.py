"""llama-cpp-python's helpers for ctypes: annotations, and declaring functions by decorator."""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import Any, Generic, TypeAlias, TypeVar

from .native.own_functions import F, ctypes_function_for_shared_library, load_shared_library

__all__ = [
    "CtypesArray",
    "CtypesCData",
    "CtypesFuncPointer",
    "CtypesPointer",
    "CtypesPointerOrRef",
    "CtypesRef",
    "CtypesVoidPointer",
    "F",
    "byref",
    "ctypes_function_for_shared_library",
    "load_shared_library",
]

CtypesCData = TypeVar("CtypesCData", bound=Any)
CtypesArray: TypeAlias = ctypes.Array[CtypesCData]
CtypesVoidPointer: TypeAlias = ctypes.c_void_p
CtypesFuncPointer: TypeAlias = Any


class CtypesPointer(Generic[CtypesCData]):
    """Stands for a ctypes pointer in an annotation."""


class CtypesRef(Generic[CtypesCData]):
    """Stands for what ``byref`` gives."""


class CtypesPointerOrRef(Generic[CtypesCData]):
    """Stands for either."""
