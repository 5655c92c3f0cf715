"""What the tests of ``llama_cpp._internals`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llama_cpp._internals import (
    LlamaBatch,
    LlamaContext,
    LlamaModel,
    LlamaSampler,
    LlamaTokenDataArray,
)

Floats = npt.NDArray[np.float32]

ANSWER = 'root ::= ("yes" | "no") "!"'


def load(path: Path, **changes: Any) -> LlamaModel:
    params = LlamaModel.default_params()
    for name, value in changes.items():
        setattr(params, name, value)
    return LlamaModel(path_model=str(path), params=params, verbose=False)


def new_context(model: LlamaModel, **changes: Any) -> LlamaContext:
    params = LlamaContext.default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 2, 2
    for name, value in changes.items():
        setattr(params, name, value)
    return LlamaContext(model=model, params=params, verbose=False)


def batch_of(tokens: list[int], n_past: int = 0, logits_all: bool = False) -> LlamaBatch:
    batch = LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1, verbose=False)
    batch.set_batch(tokens, n_past, logits_all)
    return batch


def candidates_of(logits: Floats) -> LlamaTokenDataArray:
    candidates = LlamaTokenDataArray(n_vocab=len(logits))
    candidates.copy_logits(logits)
    return candidates


def chain(*steps: tuple[Any, ...]) -> LlamaSampler:
    sampler = LlamaSampler()
    for name, *arguments in steps:
        getattr(sampler, f"add_{name}")(*arguments)
    return sampler


def generate(ctx: LlamaContext, choose: Callable[[int], int], n: int) -> list[int]:
    """Continue "Hello world" by n tokens or up to an end-of-generation token."""
    ctx.kv_cache_clear()
    tokens = ctx.model.tokenize(b"Hello world", add_bos=True, special=False)
    ctx.decode(batch_of(tokens))
    chosen: list[int] = []
    while len(chosen) < n:
        chosen.append(choose(-1))
        if chosen[-1] == ctx.model.token_eos():
            break
        ctx.decode(batch_of(chosen[-1:], len(tokens) + len(chosen) - 1))
    return chosen


def byte_token(model: LlamaModel, byte: int) -> int:
    pieces = [model.token_to_piece(token) for token in range(model.n_vocab())]
    return pieces.index(bytes([byte]))
