"""What is left of a conversation that does not fit into the context: its last turns."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..engine.media import n_cells
from ..errors import ContextWindowError
from .conversation import Conversation

_SYSTEM = ("system", "developer")


class Trimmed(NamedTuple):
    """A conversation that fits, and the places of the messages that it lacks."""

    conversation: Conversation
    dropped: Sequence[int]


def room_for(max_tokens: int | None, n_ctx: int) -> int:
    """How many tokens a conversation may have at most.

    What the reply may have is kept free, half of the context at most; a quarter of it where the
    reply may have any length.
    """
    if max_tokens is None or max_tokens < 0:
        return n_ctx - n_ctx // 4
    return n_ctx - min(max_tokens, n_ctx // 2)


def turns_of(messages: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """The places of messages by turns.

    A turn is a message of the user with all that follows up to the next one, and so has the calls
    of tools with their results. System messages are in none.
    """
    turns: list[list[int]] = []
    for index, message in enumerate(messages):
        if message["role"] in _SYSTEM:
            continue
        if not turns or (message["role"] == "user" and not _is_inside_call(messages, index)):
            turns.append([])
        turns[-1].append(index)
    return turns


def _is_inside_call(messages: Sequence[Mapping[str, Any]], index: int) -> bool:
    """Whether a result comes after this message whose call comes before it."""
    for message in messages[index:]:
        if message["role"] == "tool":
            return True
        if message.get("tool_calls"):
            return False
    return False


def trimmed(
    messages: Sequence[Mapping[str, Any]],
    render: Callable[[Sequence[Mapping[str, Any]]], Conversation],
    room: int,
) -> Trimmed:
    """Drop as few of the oldest turns as have to go; never the last one, nor a system message.

    Args:
        messages: Checked messages.
        render: Renders some of them; it is asked a few times.
        room: How many cells of the memory the conversation may take.

    Raises:
        ContextWindowError: What cannot be dropped is far longer than the context.
        ChatTemplateError: The template does not take what is left.
    """
    turns = turns_of(messages)
    rendered: dict[int, Conversation] = {}

    def dropped(n_turns: int) -> list[int]:
        return [index for turn in turns[:n_turns] for index in turn]

    def fits(n_turns: int) -> bool:
        gone = set(dropped(n_turns))
        left = [message for index, message in enumerate(messages) if index not in gone]
        try:
            rendered[n_turns] = render(left)
        except ContextWindowError:
            if n_turns >= len(turns) - 1:
                raise
            return False
        return n_cells(rendered[n_turns].prompt) <= room

    most = max(0, len(turns) - 1)
    least = 0 if fits(0) else min(most, 1 + bisect_left(range(1, most + 1), True, key=fits))
    if least not in rendered:
        fits(least)
    return Trimmed(rendered[least], dropped(least))
