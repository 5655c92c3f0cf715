"""The raw multimodal C API: every public name of ``mtmd.h`` and ``mtmd-helper.h``.

It follows the rules of ``llama_cpp.llama_cpp``: pointers are typed ints, NULL is None, functions
are bound on first use. Two functions differ from C. ``mtmd_helper_bitmap_init_from_file`` and
``mtmd_helper_bitmap_init_from_buf`` return the bitmap alone; the struct that C returns comes from
``mtmd_helper_bitmap_init_from_file_wrapper`` and ``mtmd_helper_bitmap_init_from_buf_wrapper``.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING as TYPE_CHECKING
from typing import Any

from .compat.names import NAMES, find
from .native import engine, gone, library, logs
from .native.generated import mtmd as _mtmd
from .native.own_functions import (
    ctypes_function_for_shared_library as ctypes_function_for_shared_library,
)
from .native.own_functions import load_shared_library as load_shared_library

engine.libllama()
_libmtmd = library.load("mtmd", _mtmd.SIGNATURES)
logs.install_mtmd()

ctypes_function = ctypes_function_for_shared_library(_libmtmd)

# The functions whose C name means something else here.
_WRAPPERS = {
    "mtmd_helper_bitmap_init_from_buf_wrapper": "mtmd_helper_bitmap_init_from_buf",
    "mtmd_helper_bitmap_init_from_file_wrapper": "mtmd_helper_bitmap_init_from_file",
}


def mtmd_helper_bitmap_init_from_file(
    ctx: _mtmd.mtmd_context_p,
    fname: bytes,
    placeholder: bool = False,
    opt: _mtmd.mtmd_helper_init_opt | None = None,
) -> _mtmd.mtmd_bitmap_p | None:
    """Read an image or audio file. Free the result with ``mtmd_bitmap_free``.

    Args:
        ctx: The multimodal context.
        fname: The path.
        placeholder: Leave the content out: enough to count tokens.
        opt: How to read videos; None for the defaults. Use the function of the same name with
            ``_wrapper`` to read one: its decoder must be freed too, after the bitmap.

    Returns:
        The bitmap, or None if the file cannot be read.
    """
    read = _libmtmd.bind("mtmd_helper_bitmap_init_from_file")
    return _bitmap(read(ctx, fname, placeholder, _options(opt)))


def mtmd_helper_bitmap_init_from_buf(
    ctx: _mtmd.mtmd_context_p,
    buf: Any,
    length: int,
    placeholder: bool = False,
    opt: _mtmd.mtmd_helper_init_opt | None = None,
) -> _mtmd.mtmd_bitmap_p | None:
    """Read an image or audio file that is in memory. Free the result with ``mtmd_bitmap_free``.

    Args:
        ctx: The multimodal context.
        buf: A ctypes array of ``c_uint8``, or a pointer to it.
        length: Its length in bytes.
        placeholder: Leave the content out: enough to count tokens.
        opt: As for ``mtmd_helper_bitmap_init_from_file``.

    Returns:
        The bitmap, or None if the content is in no format that the library knows.
    """
    read = _libmtmd.bind("mtmd_helper_bitmap_init_from_buf")
    return _bitmap(read(ctx, buf, length, placeholder, _options(opt)))


def _options(opt: _mtmd.mtmd_helper_init_opt | None) -> Any:
    return _libmtmd.bind("mtmd_helper_init_opt_default")() if opt is None else opt


def _bitmap(wrapper: _mtmd.mtmd_helper_bitmap_wrapper) -> _mtmd.mtmd_bitmap_p | None:
    return _mtmd.mtmd_bitmap_p(wrapper.bitmap) if wrapper.bitmap else None


def mtmd_get_audio_bitrate(ctx: _mtmd.mtmd_context_p) -> int:
    """Return the sample rate in Hz that the model's audio encoder wants, -1 if it has none."""
    successor = "mtmd_get_audio_sample_rate"
    message = f"mtmd_get_audio_bitrate has left mtmd.h, use {successor}"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    rate: int = _libmtmd.bind(successor)(ctx)
    return rate


def __getattr__(name: str) -> Any:
    if name == "__all__":
        # Asked for by `from llama_cpp.mtmd_cpp import *`, which would miss the unbound functions.
        return __dir__()
    if name in NAMES[__name__]:
        return find(__name__, name)
    symbol = _WRAPPERS.get(name, name)
    if symbol not in _mtmd.SIGNATURES:
        raise gone.unknown(name, __name__, __dir__())
    function = _libmtmd.bind(symbol)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    names = {*globals(), *_mtmd.SIGNATURES, *_WRAPPERS}
    return sorted(name for name in names if name.startswith(("mtmd_", "MTMD_")))


# Last, so that a type checker takes the two functions from here and not from C.
from .native.generated.mtmd import *  # type: ignore[assignment]  # noqa: E402
