"""Chunks put together."""

from __future__ import annotations

from typing import Any

import pytest

from llama_cpp.tools.streamed import StreamedReply


def chunk(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion.chunk", "choices": [choice]}


def call(index: int, **members: Any) -> dict[str, Any]:
    return chunk(tool_calls=[{"index": index, **members}])


BEGUN = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], {"content": ""}),
        (
            [chunk(role="assistant"), chunk(content="Hel"), chunk(content="lo")],
            {"content": "Hello"},
        ),
        (
            [chunk(reasoning_content="Hm"), chunk(reasoning_content="m"), chunk(content="Yes")],
            {"content": "Yes", "reasoning_content": "Hmm"},
        ),
        (
            [
                call(0, **BEGUN),
                call(0, function={"arguments": '{"n":'}),
                call(0, function={"arguments": "1}"}),
                call(1, **{**BEGUN, "id": "b"}),
                call(1, status="incomplete"),
            ],
            {
                "content": None,
                "tool_calls": [
                    {**BEGUN, "function": {"name": "f", "arguments": '{"n":1}'}},
                    {**BEGUN, "id": "b", "status": "incomplete"},
                ],
            },
        ),
    ],
    ids=["nothing", "content", "thought", "calls"],
)
def test_messages(chunks: list[dict[str, Any]], message: dict[str, Any]) -> None:
    whole = StreamedReply()
    usage = {"id": "1", "choices": [], "usage": {"total_tokens": 3}}
    assert [whole.add(each) for each in chunks] == [each["choices"][0]["delta"] for each in chunks]
    assert whole.add(chunk("stop")) == {}
    assert whole.add(usage) == {}
    assert whole.response() == {
        "id": "1",
        "object": "chat.completion",
        "usage": {"total_tokens": 3},
        "choices": [
            {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
        ],
    }
