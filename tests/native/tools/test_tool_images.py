"""Images that tools return, with models that see and models that do not."""

from __future__ import annotations

from typing import Any

import pytest
from llama_kit import open_llama
from media_chat_kit import handler_of, picture
from tool_kit import calling, saying
from zoo import Zoo

from llama_cpp.tools import ToolContent, ToolResult

QUESTION = [{"role": "user", "content": "Well?"}]


def draw() -> ToolContent:
    """Draw something"""
    return ToolContent([{"type": "text", "text": "a picture"}, picture(1)])


@pytest.mark.parametrize("sees", [True, False])
def test_a_model_that_sees_is_shown_images(zoo: Zoo, sees: bool) -> None:
    handler = handler_of(zoo.image_mmproj) if sees else None
    with open_llama(zoo.llama, n_ctx=1024, chat_handler=handler) as llm:
        assert llm.chats.reads_media is sees
        *events, last = llm.run(
            QUESTION, [draw], max_steps=2, tool_choice="required", enable_thinking=False,
            temperature=0, max_tokens=100,
        )  # fmt: skip
    [result] = [each for each in events if isinstance(each, ToolResult)][:1]
    assert not result.is_error
    if sees:
        assert result.content == [{"type": "text", "text": "a picture"}, picture(1)]
    else:
        assert result.content == "a picture\n[an image, which this model cannot see]"
    assert last.messages[2] == result.message  # type: ignore[union-attr]
    assert last.messages[3]["role"] == "assistant"  # type: ignore[union-attr]


def test_a_handler_of_the_callers_own_is_told_of_images(zoo: Zoo) -> None:
    asked: list[Any] = []

    def handler(*, messages: Any, **_: Any) -> Any:
        asked.append(messages)
        return calling(("draw", {})) if len(asked) == 1 else saying("A picture.")

    with open_llama(zoo.llama, chat_handler=handler) as llm:
        assert llm.run(QUESTION, [draw]).result().text == "A picture."
    assert asked[1][-1]["content"] == "a picture\n[an image, which this model cannot see]"
