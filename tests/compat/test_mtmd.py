"""The raw multimodal module where it differs from C, as scripts for llama-cpp-python expect."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llama_cpp import mtmd_cpp
from llama_cpp.native import library

WIDTH, HEIGHT = 3, 2


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A BMP file whose pixels count up in memory order."""
    rows = [bytes(range(9 * row, 9 * row + 9)) + bytes(3) for row in range(HEIGHT)]
    pixels = b"".join(rows)
    header = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    path = tmp_path / "image.bmp"
    path.write_bytes(header + info + pixels)
    return path


@pytest.fixture
def ctx() -> Any:
    # Reading an image does not look at the context, which only has to be one that is not NULL.
    return mtmd_cpp.mtmd_context_p(1)


def check_and_free(bitmap: Any) -> None:
    assert isinstance(bitmap, mtmd_cpp.mtmd_bitmap_p)
    assert mtmd_cpp.mtmd_bitmap_get_nx(bitmap) == WIDTH
    assert mtmd_cpp.mtmd_bitmap_get_ny(bitmap) == HEIGHT
    assert mtmd_cpp.mtmd_bitmap_get_n_bytes(bitmap) == 3 * WIDTH * HEIGHT
    # BMP stores rows from the bottom and pixels as blue, green, red.
    assert mtmd_cpp.mtmd_bitmap_get_data(bitmap)[:3] == [11, 10, 9]
    mtmd_cpp.mtmd_bitmap_free(bitmap)


def test_bitmap_from_file(ctx: Any, image: Path) -> None:
    check_and_free(mtmd_cpp.mtmd_helper_bitmap_init_from_file(ctx, bytes(image), False))
    options = mtmd_cpp.mtmd_helper_init_opt_default()
    check_and_free(mtmd_cpp.mtmd_helper_bitmap_init_from_file(ctx, bytes(image), False, options))


def test_bitmap_from_buffer(ctx: Any, image: Path) -> None:
    content = image.read_bytes()
    buffer = (ctypes.c_uint8 * len(content)).from_buffer_copy(content)
    check_and_free(mtmd_cpp.mtmd_helper_bitmap_init_from_buf(ctx, buffer, len(buffer)))


def test_wrapper_is_what_c_returns(ctx: Any, image: Path) -> None:
    options = mtmd_cpp.mtmd_helper_init_opt_default()
    wrapper = mtmd_cpp.mtmd_helper_bitmap_init_from_file_wrapper(ctx, bytes(image), False, options)
    assert isinstance(wrapper, mtmd_cpp.mtmd_helper_bitmap_wrapper)
    assert wrapper.video_ctx is None
    check_and_free(mtmd_cpp.mtmd_bitmap_p(wrapper.bitmap or 0))


def test_unreadable_file_gives_none_and_a_log_line(
    ctx: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "missing.png"
    assert mtmd_cpp.mtmd_helper_bitmap_init_from_file(ctx, bytes(path), False) is None
    assert [record.name for record in caplog.records] == ["llama_cpp"]
    assert str(path) in caplog.text


def test_null_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a mtmd_context_p"):
        mtmd_cpp.mtmd_helper_bitmap_init_from_file(None, b"image.png", False)  # type: ignore[arg-type]


def test_old_name_of_the_sample_rate_warns() -> None:
    warns = pytest.warns(DeprecationWarning, match="mtmd_get_audio_bitrate .*, use mtmd_get_audio_")
    with warns as caught, pytest.raises(TypeError, match="mtmd_get_audio_sample_rate"):
        mtmd_cpp.mtmd_get_audio_bitrate(None)  # type: ignore[arg-type]
    assert caught[0].filename == __file__


def test_only_this_module_needs_libmtmd(tmp_path: Path) -> None:
    path = library.find("llama")
    assert path is not None
    for file in path.parent.iterdir():
        if "mtmd" not in file.name:
            (tmp_path / file.name).symlink_to(file)
    code = (
        "import llama_cpp\n"
        "llama_cpp.llama_backend_init()\n"
        "try:\n"
        "    import llama_cpp.mtmd_cpp\n"
        "except llama_cpp.errors.LibraryNotFoundError as error:\n"
        "    assert 'libmtmd' in str(error) or 'mtmd.dll' in str(error), error\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    environment = {"LLAMA_CPP_LIB_PATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
