"""The same loop with handles: memory is freed by itself, mistakes raise instead of crashing.

python examples/low_level_api/handles_loop.py [model.gguf] [prompt]
"""

from __future__ import annotations

import codecs
import sys

from llama_cpp.errors import LlamaError
from llama_cpp.handles import Batch, Context, Model, SamplerChain, samplers
from llama_cpp.models import tinychat

PROMPT = "Q: Name the planets in the solar system? A: "
MAX_TOKENS = 64


def main() -> int:
    """Run the loop once; return the exit status."""
    path = sys.argv[1] if len(sys.argv) > 1 else tinychat()
    prompt = sys.argv[2] if len(sys.argv) > 2 else PROMPT
    try:
        with Model(path) as model:
            generate(model, prompt)
    except LlamaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def generate(model: Model, prompt: str) -> None:
    """Print a prompt and what the model makes of it."""
    vocab = model.vocab
    tokens = vocab.tokenize(prompt, parse_special=True)
    params = Context.default_params()
    params.n_ctx = len(tokens) + MAX_TOKENS
    context = Context(model, params)
    sampler = SamplerChain([samplers.greedy()])
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")  # a token may end inside a character

    print(prompt, end="", flush=True)
    batch = Batch(len(tokens))
    batch.add_sequence(tokens)
    for position in range(len(tokens), len(tokens) + MAX_TOKENS):
        context.decode(batch)
        token = sampler.sample(context)
        if vocab.is_eog(token):
            break
        print(utf8.decode(vocab.token_to_piece(token)), end="", flush=True)
        batch.clear()
        batch.add(token, position, output=True)
    print(utf8.decode(b"", final=True))


if __name__ == "__main__":
    sys.exit(main())
