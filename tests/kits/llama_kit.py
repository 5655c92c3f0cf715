"""Short forms of what the tests of ``Llama`` do again and again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_cpp.llama import Llama

PROMPT = list(range(300, 360))
"""Words of the tiny models; any ids do with random weights."""

GREEDY: dict[str, Any] = {"temperature": 0, "ignore_eos": True}


def open_llama(path: Path | str, **arguments: Any) -> Llama:
    """A small model whose results are the same each time, in batches of any size.

    It computes with one thread, and without flash attention, which rounds to F16 on the way.
    """
    defaults: dict[str, Any] = {
        "n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "flash_attn": False,
    }  # fmt: skip
    return Llama(str(path), verbose=False, **{**defaults, **arguments})


def complete(llm: Llama, prompt: Any, **arguments: Any) -> Any:
    """OpenAI's object, greedy and without an end unless told otherwise."""
    return llm.create_completion(prompt, **{"max_tokens": 12, **GREEDY, **arguments})


def text_of(llm: Llama, prompt: Any, **arguments: Any) -> str:
    text: str = complete(llm, prompt, **arguments)["choices"][0]["text"]
    return text


def cached_tokens(answer: Any) -> int:
    count: int = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    return count


def joined(chunks: Sequence[Any]) -> dict[str, Any]:
    """One choice out of its chunks, as a single answer would tell it."""
    parts = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    logprobs = [part["logprobs"] for part in parts if part["logprobs"] is not None]
    return {
        "text": "".join(part["text"] for part in parts),
        "index": parts[0]["index"],
        "logprobs": {
            name: [entry for each in logprobs for entry in each[name]] for name in logprobs[0]
        }
        if logprobs
        else None,
        "finish_reason": parts[-1]["finish_reason"],
    }
