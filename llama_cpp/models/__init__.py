"""The model that comes with the package, for first steps, examples and tests."""

from __future__ import annotations

from pathlib import Path

from llama_cpp.errors import ModelNotFoundError

__all__ = ["tinychat"]


def tinychat() -> str:
    """Return the path of tinychat, a chat model of a few million parameters.

    It answers simple questions, calls tools, extracts JSON, fills in code and tells stories. The
    model card beside it says how well.

    Returns:
        The absolute path of a GGUF file, as ``Llama`` and ``Model`` take it.

    Raises:
        ModelNotFoundError: The file is not in the installed package.
    """
    path = Path(__file__).resolve().with_name("tinychat.gguf")
    if not path.is_file():
        raise ModelNotFoundError(
            f"The bundled model is missing: there is no file {str(path)!r}. Reinstall the package; "
            "in a source tree, 'make tinychat' makes it anew."
        )
    return str(path)
