"""From what a tool returns or raises to what the model is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import LlamaError, ToolError

_UNSEEN = "[an image, which this model cannot see]"


@dataclass(frozen=True)
class ToolContent:
    """A result that is more than data: texts and images.

    Attributes:
        parts: OpenAI's parts of a message, of the types ``text`` and ``image_url``.
    """

    parts: Sequence[Mapping[str, Any]]


def content_of(value: Any, *, sees_images: bool) -> str | list[Mapping[str, Any]]:
    """Return the content of the message that tells the model.

    Args:
        value: What the tool returned: a text as it is, ``ToolContent``, or what becomes JSON.
        sees_images: Whether the model can be shown images.

    Raises:
        ToolError: JSON cannot say it.
    """
    if not isinstance(value, ToolContent):
        return well_formed(value if isinstance(value, str) else _json(value))
    parts = [part if _is_shown(part, sees_images) else _text_part(_UNSEEN) for part in value.parts]
    if any(part["type"] != "text" for part in parts):
        return parts
    return well_formed("\n".join(part["text"] for part in parts))


def error_text(error: BaseException) -> str:
    """Return what the model is told of an exception; the errors of this package explain all."""
    if isinstance(error, LlamaError):
        return well_formed(error.message)
    kind, text = type(error).__name__, str(error)
    return well_formed(f"{kind}: {text}" if text else kind)


def well_formed(text: str) -> str:
    """Replace what UTF-8 cannot say, such as half a surrogate pair of a file's name."""
    return text.encode("utf-8", "replace").decode()


def _is_shown(part: Mapping[str, Any], sees_images: bool) -> bool:
    return sees_images or part["type"] == "text"


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _json(value: Any) -> str:
    try:
        from pydantic_core import to_json
    except ImportError:
        written = _plain_json
    else:

        def written(value: Any) -> str:
            return to_json(value, inf_nan_mode="strings").decode()

    try:
        return written(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolError(
            f"the tool returned a {type(value).__name__}, which cannot be written as JSON: {error}"
        ) from error


def _plain_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
