"""A conversation with handles: the model's own template makes the prompts and reads the replies.

python examples/low_level_api/chat_loop.py [model.gguf]
"""

from __future__ import annotations

import json
import sys
from typing import Any

from llama_cpp.errors import LlamaError
from llama_cpp.handles import Batch, ChatTemplates, Context, Model
from llama_cpp.models import tinychat

N_CTX = 1024
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def main() -> int:
    """Ask a few questions, the last of which needs a tool; return the exit status."""
    path = sys.argv[1] if len(sys.argv) > 1 else tinychat()
    try:
        with Model(path) as model:
            chat = Chat(model)
            chat.send("user", "Hello, my name is Ada.")
            chat.send("user", "What is the capital of Japan?")
            chat.send("user", "What is my name?")
            chat.send("user", "What is the weather in Oslo?", tools=[WEATHER])
            weather = json.dumps({"temperature": 21, "condition": "sunny"})
            chat.send("tool", weather, tools=[WEATHER])
    except LlamaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


class Chat:
    """One conversation, whose messages all go through the model at every turn."""

    def __init__(self, model: Model) -> None:
        """Take the template from the model's metadata."""
        vocab = model.vocab
        self._vocab = vocab
        self._templates = ChatTemplates(
            model.metadata["tokenizer.chat_template"],
            bos=vocab.text(vocab.bos).decode(),
            eos=vocab.text(vocab.eos).decode(),
        )
        params = Context.default_params()
        params.n_ctx = params.n_batch = N_CTX
        self._context = Context(model, params)
        self._messages: list[dict[str, Any]] = []

    def send(self, role: str, content: str, **options: Any) -> None:
        """Print a message and what the model makes of it."""
        print(f"{role + ':':10} {content}")
        self._messages.append({"role": role, "content": content})
        prompt = self._templates.apply(self._messages, enable_thinking=False, **options)
        message = self._templates.parse(self._generate(prompt["prompt"]), prompt)
        self._messages.append(message)
        for call in message.get("tool_calls", []):
            function = call["function"]
            print(f"assistant: calls {function['name']} with {function['arguments']}")
        if message["content"]:
            print(f"assistant: {message['content']}")

    def _generate(self, prompt: str) -> str:
        tokens = self._vocab.tokenize(prompt, parse_special=True)
        self._context.memory.clear()
        batch = Batch(len(tokens))
        batch.add_sequence(tokens)
        written = b""
        for position in range(len(tokens), N_CTX):
            self._context.decode(batch)
            token = int(self._context.logits().argmax())
            if self._vocab.is_eog(token):
                break
            written += self._vocab.token_to_piece(token)
            batch.clear()
            batch.add(token, position, output=True)
        return written.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
