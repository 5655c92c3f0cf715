"""Generate text with nothing but the C API: load, tokenize, batch, decode, greedy, free.

    python examples/low_level_api/raw_loop.py [model.gguf] [prompt]

Every name is one of llama.h. Without a model it takes tinychat, which comes with the package.
"""

from __future__ import annotations

import ctypes
import os
import sys

import llama_cpp
from llama_cpp.models import tinychat

PROMPT = "Q: Name the planets in the solar system? A: "
MAX_TOKENS = 64


def main() -> int:
    """Run the loop once; return the exit status."""
    path = sys.argv[1] if len(sys.argv) > 1 else tinychat()
    prompt = sys.argv[2] if len(sys.argv) > 2 else PROMPT

    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(
        path.encode(), llama_cpp.llama_model_default_params()
    )
    if model is None:
        print(f"cannot load {path}", file=sys.stderr)
        return 1
    vocab = llama_cpp.llama_model_get_vocab(model)
    assert vocab is not None  # every model has one

    text = prompt.encode()
    tokens = (llama_cpp.llama_token * (len(text) + 2))()
    n_tokens = llama_cpp.llama_tokenize(vocab, text, len(text), tokens, len(tokens), True, True)

    params = llama_cpp.llama_context_default_params()
    params.n_ctx = n_tokens + MAX_TOKENS
    params.n_batch = max(n_tokens, 1)
    # The default is 4. Workers wait by spinning, so more of them than cores is slow.
    params.n_threads = params.n_threads_batch = os.cpu_count() or 1
    context = llama_cpp.llama_init_from_model(model, params)
    sampler = llama_cpp.llama_sampler_init_greedy()
    if context is None or sampler is None:
        print("cannot create a context", file=sys.stderr)
        return 1

    print(prompt, end="", flush=True)
    piece = ctypes.create_string_buffer(256)
    batch = llama_cpp.llama_batch_get_one(tokens, n_tokens)
    for _ in range(MAX_TOKENS):
        if llama_cpp.llama_decode(context, batch) != 0:
            print("decode failed", file=sys.stderr)
            return 1
        token = llama_cpp.llama_sampler_sample(sampler, context, -1)
        if llama_cpp.llama_vocab_is_eog(vocab, token):
            break
        length = llama_cpp.llama_token_to_piece(vocab, token, piece, len(piece), 0, False)
        print(piece.raw[: max(length, 0)].decode("utf-8", "replace"), end="", flush=True)
        next_token = (llama_cpp.llama_token * 1)(token)  # the batch points at it: keep it
        batch = llama_cpp.llama_batch_get_one(next_token, 1)
    print()

    llama_cpp.llama_sampler_free(sampler)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    llama_cpp.llama_backend_free()
    return 0


if __name__ == "__main__":
    sys.exit(main())
