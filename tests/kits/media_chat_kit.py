"""Short forms of what the tests of chats with images and sounds do again and again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_kit import GREEDY
from media_bytes import audio_part, image_part, noise, png, tone, wav
from zoo import Zoo, write_image_mmproj
from zoo_vision import write_gemma3_mmproj, write_qwen2vl, write_qwen2vl_mmproj

from llama_cpp.chat.media.handlers import MTMDChatHandler
from llama_cpp.llama import Llama

QUESTION = "the water"
N_IMAGE = 16


def picture(seed: int) -> dict[str, Any]:
    return image_part(png(noise(seed)))


def sound(hertz: float) -> dict[str, Any]:
    return audio_part(wav(np.round(tone(hertz) * 32768).astype(np.int16)[:, None]))


def saying(*parts: str | dict[str, Any]) -> list[dict[str, Any]]:
    """A message of the user."""
    content = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
    return [{"role": "user", "content": content}]


def answer(llm: Llama, messages: Sequence[dict[str, Any]], **options: Any) -> Any:
    return llm.create_chat_completion(messages, **{"max_tokens": 12, **GREEDY, **options})


def text_of(reply: Any) -> str:
    content: str = reply["choices"][0]["message"]["content"]
    return content


def ask(llm: Llama, *parts: str | dict[str, Any], **options: Any) -> str:
    return text_of(answer(llm, saying(*parts), **options))


def handler_of(path: Path, **options: Any) -> MTMDChatHandler:
    return MTMDChatHandler(str(path), verbose=False, n_threads=1, **options)


def seeing(kind: str, zoo: Zoo, folder: Path) -> dict[str, Any]:
    """What opens a model with this kind of memory, and a projector."""
    path = folder / "mmproj.gguf"
    if kind == "qwen2vl":
        model, mmproj = write_qwen2vl(folder / "text.gguf"), write_qwen2vl_mmproj(path)
    elif kind == "gemma3":
        model, mmproj = zoo.sliding_window, write_gemma3_mmproj(path)
    else:
        model = getattr(zoo, kind)
        mmproj = write_image_mmproj(path, n_embd=256 if kind == "llama" else 128)
    return {"path": model, "chat_handler": handler_of(mmproj)}
