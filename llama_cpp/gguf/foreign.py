"""What people load by mistake in place of a GGUF file."""

from __future__ import annotations

_CONVERT = "Convert the original model with llama.cpp's convert_hf_to_gguf.py."
_LEGACY = "Download it as GGUF, or convert it with llama.cpp's convert_llama_ggml_to_gguf.py."
_RESTORE = "Load the model that it belongs to, then restore the state into it."
_PULL = "Run 'git lfs pull' in the checkout, or download the file itself."
_DOWNLOAD = "Download the file itself: on Hugging Face from /resolve/ and not from /blob/."
_FOREIGN_FORMATS = (
    ((b"version https://git-lfs",), "a git-lfs pointer", _PULL),
    ((b"<!doctype html", b"<html"), "an HTML page", _DOWNLOAD),
    ((b"<?xml", b"{"), "an XML or JSON text, such as a server's error answer", _DOWNLOAD),
    ((b"pk\x03\x04", b"\x80\x02"), "a zip or pickle, such as a PyTorch checkpoint", _CONVERT),
    ((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zxz"), "a compressed file", "Unpack it first."),
    ((b"lmgg", b"fmgg", b"tjgg", b"algg"), "a legacy GGML, GGMF, GGJT or GGLA file", _LEGACY),
    ((b"nsgg", b"qsgg"), "a saved llama.cpp state", _RESTORE),
)


def foreign_format(head: bytes, size: int) -> tuple[str, str]:
    """Return what a file that is not GGUF looks like, and what to do about it.

    Args:
        head: Its first bytes, up to 256.
        size: Its length in bytes.
    """
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return "a safetensors file", _CONVERT
    if not head.strip(b"\0"):
        return "zeros, as an unfinished download leaves them", "Download it again."
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for prefixes, looks_like, advice in _FOREIGN_FORMATS:
        if text.startswith(prefixes):
            return looks_like, advice
    return "no format known here", "Check that it is the right file and was downloaded completely."
