"""Long replies: a part costs the same wherever it stands, and the message is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chat_kit import QUESTION, WEATHER, calls_of, templates

from llama_cpp.chat.reply import ReplyReader, new_call_id
from llama_cpp.handles import ReplyParser

WRITE = {
    "type": "function",
    "function": {
        "name": "write",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "text": {"type": "string"}},
        },
    },
}
CODE = 'def f(a):\n\treturn {"a": [a, "\\\\d+"]}  # <b> & "c" é 😀\n\n'


class Recording:
    """A parser that notes how much it had to read."""

    def __init__(self, parser: ReplyParser) -> None:
        self.parser = parser
        self.sizes: list[int] = []

    def parse(self, text: str, *, partial: bool = False) -> dict[str, Any]:
        self.sizes.append(len(text))
        return self.parser.parse(text, partial=partial)

    def close(self) -> None:
        self.parser.close()


def parser(name: str, **options: Any) -> Recording:
    asked = {"tools": [WEATHER, WRITE], "reasoning_format": "auto", **options}
    return Recording(ReplyParser(templates(name).apply(QUESTION, **asked)))


def read(recording: Recording, text: str, size: int) -> tuple[dict[str, Any], list[Any]]:
    reader = ReplyReader(recording)
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    deltas = [delta for piece in pieces for delta in reader.add(piece)]
    in_stream = json.loads(json.dumps(reader.message))
    recording.sizes.append(-1)  # what comes after is the end of the reply
    deltas += reader.finish()
    reader.close()
    assert json.dumps(in_stream["content"]) in (json.dumps(reader.message["content"]), '""')
    return reader.message, deltas


def call(arguments: dict[str, Any], name: str = "write") -> str:
    text = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{text}\n</tool_call>"


XML = (
    "<tool_call>\n<function=write>\n<parameter=path>\na.py\n</parameter>\n<parameter=text>\n"
    f"{CODE * 100}\n</parameter>\n</function>\n</tool_call>"
)
CHANNELS = (
    f"<|channel|>analysis<|message|>{'Hm. ' * 900}<|end|><|start|>assistant"
    f"<|channel|>final<|message|>{'Rain and wind. ' * 400}"
)
LONG = {
    "content": ("tinychat", "Words <b>of</b> all kinds, 1 < 2. " * 300),
    "reasoning": (
        "Qwen-Qwen3-0.6B",
        "<think>\n" + "Hm, {so} it is.\n" * 400 + "\n</think>\n\nYes.",
    ),
    "both": ("Qwen-Qwen3-0.6B", "<think>\n" + "Hm. " * 900 + "\n</think>\n\n" + "Yes, no. " * 900),
    "arguments": ("tinychat", call({"path": "a.py", "text": CODE * 100})),
    "numbers": ("tinychat", call({"path": "a", "text": [[i, {"n": i}] for i in range(900)]})),
    "XML arguments": ("Qwen3-Coder", XML),
    "channels": ("openai-gpt-oss-120b", CHANNELS),
}


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("kind", LONG)
def test_a_part_costs_the_same_everywhere(kind: str, size: int) -> None:
    name, text = LONG[kind]
    recording = parser(name, enable_thinking=name != "tinychat")
    message, _ = read(recording, text, size)
    in_stream = recording.sizes[: recording.sizes.index(-1)]
    assert max(in_stream) < 4096 < len(text)
    whole = ReplyReader(parser(name, enable_thinking=name != "tinychat"))
    whole.finish(text)
    assert calls_of(message) == calls_of(whole.message)
    for key in ("content", "reasoning_content"):
        assert message.get(key) == whole.message.get(key)


def test_a_reply_that_repeats_itself_stays_whole() -> None:
    text = "na " * 3000 + "<tool_call> " * 300
    message, deltas = read(parser("tinychat", tools=None, enable_thinking=False), text, 3)
    assert message["content"] == text
    assert "".join(delta["content"] for delta in deltas) == text


def test_calls_keep_their_ids_and_places() -> None:
    text = "\n".join(call({"city": city, "days": 1}, "get_weather") for city in ("Oslo", "Rome"))
    recording = parser("tinychat", parallel_tool_calls=True, enable_thinking=False)
    message, deltas = read(recording, text, 1)
    parts = [part for delta in deltas for part in delta.get("tool_calls", [])]
    assert [part["index"] for part in parts] == sorted(part["index"] for part in parts)
    starts = [part for part in parts if "id" in part]
    assert [part["id"] for part in starts] == [call["id"] for call in message["tool_calls"]]
    assert len({part["id"] for part in starts}) == 2
    assert all(part["function"]["name"] == "get_weather" for part in starts)
    assert calls_of(message) == [
        ("get_weather", {"city": city, "days": 1}) for city in ("Oslo", "Rome")
    ]


def test_ids_suit_every_template() -> None:
    ids = {new_call_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(each) == 9 and each.isalnum() and each.isascii() for each in ids)


def test_a_call_that_was_cut_off_says_so() -> None:
    text = call({"path": "a", "text": "hello"})[:-30]
    reader = ReplyReader(parser("tinychat", enable_thinking=False))
    deltas = reader.finish(text, partial=True)
    [cut] = reader.message["tool_calls"]
    assert cut["status"] == "incomplete"
    assert cut["function"]["name"] == "write"
    assert deltas[-1] == {"tool_calls": [{"index": 0, "status": "incomplete"}]}
    whole = ReplyReader(parser("tinychat", enable_thinking=False))
    whole.finish(call({"path": "a", "text": "hello"}))
    assert "status" not in whole.message["tool_calls"][0]


def test_white_space_before_a_call_is_no_content() -> None:
    text = "\n\n" + call({"path": "a", "text": "b"})
    message, deltas = read(parser("tinychat", enable_thinking=False), text, 1)
    assert message["content"] is None
    assert not any("content" in delta for delta in deltas)
    message, _ = read(parser("tinychat", enable_thinking=False), "\n\n Yes.", 1)
    assert message["content"].strip() == "Yes."


GPT = "openai-gpt-oss-120b"


@pytest.mark.parametrize("size", [1, 1000])
def test_a_reply_of_another_form_is_content(size: int) -> None:
    message, _ = read(parser(GPT, tools=None), "Just text, no channels.", size)
    assert message["content"] == "Just text, no channels."


@pytest.mark.parametrize("size", [1, 1000])
def test_what_was_read_before_the_form_broke_stays(size: int) -> None:
    text = "<|channel|>analysis<|message|>Hm.<|end|>And now what?"
    message, _ = read(parser(GPT, tools=None), text, size)
    assert message["reasoning_content"] == "Hm."
    assert "And now what?" in message["content"]


def test_nonsense_after_calls_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    text = call({"path": "a", "text": "b"}) + "</tool_call> and so on"
    with caplog.at_level("WARNING", logger="llama_cpp"):
        message, _ = read(parser("tinychat", enable_thinking=False), text, 1)
    assert calls_of(message) == [("write", {"path": "a", "text": "b"})]
    assert "and so on" in caplog.text
