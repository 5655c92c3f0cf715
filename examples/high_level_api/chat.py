"""A conversation that ends with a tool.

python examples/high_level_api/chat.py [model.gguf]
"""

from __future__ import annotations

import json
import sys
from typing import Any

from llama_cpp import Llama
from llama_cpp.errors import LlamaError
from llama_cpp.models import tinychat

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
QUESTIONS = ("Hello, my name is Ada.", "What is the capital of Japan?", "What is my name?")


def main() -> int:
    """Hold the conversation; return the exit status."""
    path = sys.argv[1] if len(sys.argv) > 1 else tinychat()
    try:
        with Llama(path, n_ctx=1024, verbose=False) as llm:
            messages: list[dict[str, Any]] = []
            for question in QUESTIONS:
                messages.append({"role": "user", "content": question})
                messages.append(reply(llm, messages))
            messages.append({"role": "user", "content": "What is the weather in Oslo?"})
            message = reply(llm, messages, tools=[WEATHER])
            messages.append(message)
            for call in message.get("tool_calls") or ():
                result = get_weather(**json.loads(call["function"]["arguments"]))
                answer = {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)}
                messages.append(answer)
            reply(llm, messages, tools=[WEATHER])
    except LlamaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def reply(llm: Llama, messages: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Answer the last message and show both."""
    answer: Any = llm.create_chat_completion(messages, temperature=0, max_tokens=200, **options)
    message: dict[str, Any] = answer["choices"][0]["message"]
    print(f"{messages[-1]['role']:>9}: {messages[-1]['content']}")
    if message["content"]:
        print(f"assistant: {message['content']}")
    for call in message.get("tool_calls") or ():
        print(f"assistant: {call['function']['name']}({call['function']['arguments']})")
    return message


def get_weather(city: str) -> dict[str, Any]:
    """The tool: no forecast is better than this one."""
    return {"city": city, "weather": "sunny", "temperature": 21}


if __name__ == "__main__":
    sys.exit(main())
