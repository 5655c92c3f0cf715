"""How much is thought, in the words of each API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from server_kit import RunningServer

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def chat(server: RunningServer, **body: Any) -> Any:
    body = {"messages": QUESTION, "temperature": 0, "max_tokens": 60, **body}
    response = server.post("/v1/chat/completions", body)
    assert response.status_code == 200, response.text
    return response.json()


def reasoning_tokens(answer: Any) -> int:
    count: int = answer["usage"]["completion_tokens_details"]["reasoning_tokens"]
    return count


@pytest.mark.parametrize(
    "name", ["thinking_budget", "reasoning_budget_tokens", "thinking_budget_tokens"]
)
def test_a_chat_has_a_budget_by_any_of_its_names(server: RunningServer, name: str) -> None:
    free = chat(server, enable_thinking=True)
    assert reasoning_tokens(free) > 4
    assert reasoning_tokens(chat(server, enable_thinking=True, **{name: -1})) > 4
    answer = chat(server, enable_thinking=True, **{name: 4})
    assert reasoning_tokens(answer) == 4
    assert "Paris" in answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("name", ["thinking_end_message", "reasoning_budget_message"])
def test_a_message_ends_the_thought(server: RunningServer, name: str) -> None:
    body = {"enable_thinking": True, "thinking_budget": 4, name: " I know."}
    message = chat(server, **body)["choices"][0]["message"]
    assert message["reasoning_content"].endswith(" I know.")


def test_a_stream_tells_the_tokens_of_thoughts(server: RunningServer) -> None:
    body = {
        "messages": QUESTION, "temperature": 0, "max_tokens": 60, "thinking_budget": 4,
        "enable_thinking": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    *_, last, done = server.events("/v1/chat/completions", body)
    assert "[DONE]" in done
    assert reasoning_tokens(json.loads(last)) == 4


@pytest.mark.parametrize(("effort", "thinks"), [("none", False), ("low", True), ("high", True)])
def test_efforts_say_whether_to_think(server: RunningServer, effort: str, thinks: bool) -> None:
    assert bool(reasoning_tokens(chat(server, reasoning_effort=effort))) == thinks
    asked = {"input": QUESTION, "temperature": 0, "reasoning": {"effort": effort}}
    response = server.post("/v1/responses", asked).json()
    assert bool(response["usage"]["output_tokens_details"]["reasoning_tokens"]) == thinks
    assert (response["output"][0]["type"] == "reasoning") == thinks


def test_messages_have_a_budget(server: RunningServer) -> None:
    def thoughts(thinking: dict[str, Any]) -> str:
        body = {"messages": QUESTION, "temperature": 0, "max_tokens": 60, "thinking": thinking}
        response = server.post("/v1/messages", body)
        assert response.status_code == 200, response.text
        return "".join(block.get("thinking", "") for block in response.json()["content"])

    free = thoughts({"type": "enabled"})
    short = thoughts({"type": "enabled", "budget_tokens": 4})
    assert free.startswith(short)
    assert 0 < len(short) < len(free)
    assert not thoughts({"type": "disabled"})


@pytest.mark.parametrize(
    ("path", "wrong", "named"),
    [
        ("/v1/chat/completions", {"thinking_budget": -2}, "thinking_budget"),
        ("/v1/chat/completions", {"reasoning_effort": "much"}, "reasoning_effort"),
        ("/v1/messages", {"thinking": {"type": "enabled", "budget_tokens": "4"}}, "budget_tokens"),
        ("/v1/messages", {"thinking": {"type": "enabled", "budget_tokens": -1}}, "budget_tokens"),
        ("/v1/messages", {"thinking": {"type": "enabled", "budget_tokens": True}}, "budget_tokens"),
    ],
)
def test_what_is_no_budget_is_refused(
    server: RunningServer, path: str, wrong: dict[str, Any], named: str
) -> None:
    response = server.post(path, {"messages": QUESTION, "max_tokens": 8, **wrong})
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]
