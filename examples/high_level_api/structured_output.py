"""A reply that has to follow a JSON schema, and the thought before another one.

python examples/high_level_api/structured_output.py [model.gguf]
"""

from __future__ import annotations

import json
import sys
from typing import Any

from llama_cpp import Llama
from llama_cpp.errors import LlamaError
from llama_cpp.models import tinychat

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def main() -> int:
    """Extract a person and think about a capital; return the exit status."""
    path = sys.argv[1] if len(sys.argv) > 1 else tinychat()
    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    try:
        with Llama(path, n_ctx=1024, verbose=False) as llm:
            message = ask(llm, "Extract Jason is 25 years old", response_format=schema)
            person = json.loads(message["content"])
            print(f"{person['name']} will be {person['age'] + 1}.")
            message = ask(llm, "What is the capital of Japan?", enable_thinking=True)
            if message.get("reasoning_content"):
                print(f"thought: {message['reasoning_content'].strip()}")
            print(f"answer: {message['content'].strip()}")
    except LlamaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def ask(llm: Llama, question: str, **options: Any) -> dict[str, Any]:
    """Return the message that answers a question."""
    messages = [{"role": "user", "content": question}]
    answer: Any = llm.create_chat_completion(messages, temperature=0, max_tokens=200, **options)
    message: dict[str, Any] = answer["choices"][0]["message"]
    return message


if __name__ == "__main__":
    sys.exit(main())
