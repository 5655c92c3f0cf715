"""A completion, streamed: the text appears as it is written.

python examples/high_level_api/completion.py [model.gguf [prompt]]
"""

from __future__ import annotations

import sys
from typing import Any

from llama_cpp import Llama
from llama_cpp.errors import LlamaError
from llama_cpp.models import tinychat

PROMPT = "Q: Name the planets in the solar system? A: "


def main() -> int:
    """Complete the prompt; return the exit status."""
    path = sys.argv[1] if len(sys.argv) > 1 else tinychat()
    prompt = sys.argv[2] if len(sys.argv) > 2 else PROMPT
    try:
        with Llama(path, verbose=False) as llm:
            print(prompt, end="", flush=True)
            chunks: Any = llm(prompt, max_tokens=64, stop=["Q:", "\n"], temperature=0, stream=True)
            for chunk in chunks:
                print(chunk["choices"][0]["text"], end="", flush=True)
            print()
    except LlamaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
