"""Long conversations: many short ones one after the other, to teach distant positions."""

from __future__ import annotations

from tools.tinychat.corpus import extraction, facts, memory, stories
from tools.tinychat.corpus.example import Chat, Message, maybe_system
from tools.tinychat.words import Draw

_PARTS = (facts.chat, facts.chat, memory.repeat, memory.remember, extraction.extract)


def conversation(draw: Draw) -> Chat:
    messages: list[Message] = [*maybe_system(draw)]
    parts = [draw.one(_PARTS)(draw) for _ in range(draw.random.randint(6, 40))]
    if draw.chance(0.3):
        parts.append(stories.ask_for_story(draw))
        draw.random.shuffle(parts)
    for part in parts:
        messages += (message for message in part.messages if message["role"] != "system")
    return Chat(tuple(messages))
