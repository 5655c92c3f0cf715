"""Every template of the engine: conversations go in, replies in the family's syntax come back.

The syntax is asked of the template itself: what it writes for an assistant's message that has a
thought and a call is what its model writes. Only where a template has no place for these is it
written down here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from chat_kit import OF_THE_ENGINE, WEATHER, calls_of, source, templates
from llama_kit import open_llama
from zoo import Zoo

from llama_cpp.chat.conversation import Conversation, LoadedTemplate
from llama_cpp.chat.generic_tools import with_tools_as_text
from llama_cpp.chat.messages import ReplyForm, checked_messages
from llama_cpp.chat.render import TemplateRenderer
from llama_cpp.chat.reply import ReplyReader
from llama_cpp.errors import ChatParseError
from llama_cpp.handles import Model

ALL = sorted(path.stem for path in OF_THE_ENGINE.glob("*.jinja"))
THOUGHT = "The city is known, so I ask."
ARGUMENTS = {"city": "Oslo", "days": 3}
CALL = {
    "id": "abcdef123",
    "type": "function",
    "function": {"name": "get_weather", "arguments": json.dumps(ARGUMENTS)},
}
QUESTION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How will the weather be in Oslo?"},
]
CALLING = {
    "role": "assistant", "content": "", "reasoning_content": THOUGHT, "tool_calls": [CALL],
}  # fmt: skip
SIX_TURNS: list[dict[str, Any]] = [
    *QUESTION,
    CALLING,
    {"role": "tool", "tool_call_id": "abcdef123", "name": "get_weather", "content": "clear, 21"},
    {"role": "assistant", "content": "It will be clear."},
    {"role": "user", "content": "Thanks. And tomorrow?"},
]
FORM = ReplyForm(tools=[WEATHER], tool_choice="auto")
AUTO: dict[str, Any] = {"reasoning_format": "auto", "enable_thinking": True}

# The engine knows no syntax of calls for these: their templates write none, or only one for tools
# that they list by other variables than `tools`. They get tools as text.
WITHOUT_CALLS = {
    "HuggingFaceTB-SmolLM3-3B", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "google-gemma-2-2b-it", "ibm-granite-granite-3.3-2B-Instruct", "llama-cpp-rwkv-world",
    "microsoft-Phi-3.5-mini-instruct",
}  # fmt: skip
AS_TEXT = (
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}}\n</tool_call>'
)

# Calls that the engine reads and the template does not write.
UNWRITTEN = dict.fromkeys(
    ("LFM2-8B-A1B", "LFM2.5-Instruct"),
    "<|tool_call_start|>[get_weather(city='Oslo', days=3)]<|tool_call_end|>",
)
# The engine's parser for these has no place for thoughts when there are tools.
THOUGHTLESS = {"LFM2-8B-A1B", "LFM2.5-Instruct"}
# Thinks only at a named effort.
KWARGS = {"tencent-Hy3": {"reasoning_effort": "high"}}
# The engine takes the id of its made-up call for a part of the syntax, and has the model write it.
IDS = {"upstage-Solar-Open-100B": "call00001"}

# Where a message with a call begins if its template does not write the thoughts of past messages.
BEGINNINGS = ("<TOOLCALL>", "<tool_call>", "<｜tool▁calls▁begin｜>", "[TOOL_CALLS]", "Action:")  # noqa: RUF001


def options(name: str) -> dict[str, Any]:
    return {**AUTO, **({"chat_template_kwargs": KWARGS[name]} if name in KWARGS else {})}


def written(name: str) -> str:
    """What the model of a template writes after the prompt, and how its message ends."""
    id_ = IDS.get(name, "abcdef123")
    calling = {**CALLING, "tool_calls": [{**CALL, "id": id_}]}
    with templates(name) as template:
        tools = {"tools": [WEATHER], **options(name)}
        asked = template.apply(QUESTION, **tools)
        past = template.apply([*QUESTION, calling], add_generation_prompt=False, **tools)
    prompt, told = str(asked["prompt"]), str(past["prompt"])
    pairs = enumerate(zip(prompt, told, strict=False))
    n_common = next((index for index, (a, b) in pairs if a != b), len(prompt))
    new = told[n_common:]
    if name in WITHOUT_CALLS:
        new = AS_TEXT
    elif name in UNWRITTEN:
        new = UNWRITTEN[name]
    elif not told.startswith(prompt) and THOUGHT not in new:
        name_at = told.rindex("get_weather")
        new = told[max(told.rfind(beginning, 0, name_at) for beginning in BEGINNINGS) :]
    if THOUGHT in new or not thinks(name):
        return new
    start, end = asked["thinking_start_tag"], asked["thinking_end_tags"][-1]
    begun = asked["generation_prompt"].rstrip().endswith(start)
    return f"{'' if begun else start}{THOUGHT}{end}{new.removeprefix(end)}"


def thinks(name: str) -> bool:
    with templates(name) as template:
        prompt = template.apply(QUESTION, tools=[WEATHER], **options(name))
    return bool(prompt["supports_thinking"]) and name not in THOUGHTLESS


def conversation(name: str, model: Model) -> Conversation:
    renderer = TemplateRenderer(LoadedTemplate(source(name), "<s>", "</s>"))
    messages = checked_messages(QUESTION, renderer.roles)
    return renderer.render(model.vocab, messages, FORM, options(name), None)


def whole(talk: Conversation, text: str) -> dict[str, Any]:
    reader = ReplyReader(talk.parser())
    reader.finish(text)
    reader.close()
    return reader.message


def streamed(talk: Conversation, text: str) -> dict[str, Any]:
    """The message that the deltas add up to, as a client puts it together."""
    reader = ReplyReader(talk.parser())
    deltas = [delta for character in text for delta in reader.add(character)]
    deltas += reader.finish()
    reader.close()
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    for delta in deltas:
        for key in ("content", "reasoning_content"):
            if key in delta:
                message[key] = message.get(key, "") + delta[key]
        for call in delta.get("tool_calls", []):
            calls = message.setdefault("tool_calls", [])
            if call["index"] == len(calls):
                calls.append({"id": call["id"], "type": "function", "function": call["function"]})
            else:
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    if "tool_calls" in message:
        message["content"] = message["content"] or None
    return message


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    calls = [{**call, "id": ""} for call in message.get("tool_calls", [])]
    return {**message, "tool_calls": calls}


def test_there_are_that_many_families() -> None:
    assert len(ALL) == 70
    assert len(WITHOUT_CALLS) == 6


@pytest.mark.parametrize("name", ALL)
def test_six_turns_are_rendered(name: str) -> None:
    with templates(name) as template:
        messages: Sequence[Mapping[str, Any]] = SIX_TURNS
        if name in WITHOUT_CALLS:
            messages = with_tools_as_text(checked_messages(SIX_TURNS), [WEATHER])
        prompt = template.apply(messages, tools=[WEATHER], **options(name))["prompt"]
    for text in ("Be brief.", "in Oslo?", "clear, 21", "It will be clear.", "And tomorrow?"):
        assert text in prompt
    assert "get_weather" in prompt


@pytest.mark.parametrize("name", ALL)
def test_a_thought_and_a_call_come_back_whole_and_streamed(name: str, model: Model) -> None:
    talk, text = conversation(name, model), written(name)
    # A model ends its message by a token that is no text; templates write it out.
    for end in range(len(text), 0, -1):
        with suppress(ChatParseError):
            if calls_of(talk.parser().parse(text[:end])) == [("get_weather", ARGUMENTS)]:
                break
    else:
        pytest.fail(f"no call was read from {text!r}")
    message = whole(talk, text[:end])
    assert calls_of(message) == [("get_weather", ARGUMENTS)]
    assert not (message["content"] or "").strip()
    if thinks(name):
        assert message["reasoning_content"].strip() == THOUGHT
    else:
        assert "reasoning_content" not in message
    assert without_ids(streamed(talk, text[:end])) == without_ids(message)


# Some families write texts without quotation marks, so that random weights would never end one.
FINITE = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {
            "type": "object",
            "properties": {
                "postcode": {"type": "integer", "enum": [1010, 3020]},
                "metric": {"type": "boolean"},
            },
            "required": ["postcode", "metric"],
        },
    },
}


# The engine's grammars for these leave a part of the call to the model (an id, a recipient, values
# that follow no schema) or of the thought before it. Trained models get over that; random weights
# do not.
LEFT_FREE = {
    "Apriel-1.6-15b-Thinker-fixed", "Kimi-K3", "LFM2-8B-A1B", "LFM2.5-8B-A1B", "LFM2.5-Instruct",
    "MiniMax-M3", "Mistral-Small-3.2-24B-Instruct-2506", "google-gemma-4-31B-it",
    "google-gemma-4-31B-it-interleaved", "muse-glimmer", "openbmb-MiniCPM5-1B",
}  # fmt: skip
# Their grammars admit white space where their parsers do not.
SPACED = {"GLM-4.6", "GLM-4.7-Flash", "Spark2.5"}


@pytest.mark.parametrize("name", ALL)
def test_random_weights_call_what_they_have_to(name: str, zoo: Zoo) -> None:
    # The tiny vocabulary has no such character.
    template = source(name).replace("▁", " ")
    with open_llama(zoo.llama, chat_template=template, n_ctx=6000) as llm:
        for seed in range(3):
            answer: Any = llm.create_chat_completion(
                QUESTION, tools=[FINITE], tool_choice="required", enable_thinking=False,
                temperature=1.5, seed=seed, max_tokens=1000,
            )  # fmt: skip
            [choice] = answer["choices"]
            if name in LEFT_FREE:
                assert not choice["message"]["content"]
                continue
            assert choice["finish_reason"] == "tool_calls", choice
            assert choice["message"]["content"] is None
            [call] = choice["message"]["tool_calls"]
            assert call["function"]["name"] == "get_weather"
            if "status" in call:
                assert name in SPACED
                continue
            arguments = json.loads(call["function"]["arguments"])
            assert arguments in [{"postcode": p, "metric": m} for p in (1010, 3020) for m in (0, 1)]
