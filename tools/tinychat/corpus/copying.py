"""Dense exercises in finding and copying: every token of their replies stands in the prompt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tools.tinychat.corpus.example import Chat, Message, assistant, maybe_system, user
from tools.tinychat.words import Draw


def _item(draw: Draw) -> str:
    kinds: tuple[Callable[[], str], ...] = (
        draw.name, draw.place, draw.thing, partial(_digits, draw),
    )  # fmt: skip
    return draw.one(kinds)()


def _digits(draw: Draw) -> str:
    return str(draw.number(0, 99999))


def recite(draw: Draw) -> Chat:
    """A long list to say again."""
    separator = draw.one((", ", " ", "\n", "; "))
    text = separator.join(_item(draw) for _ in range(draw.random.randint(6, 40)))
    request = draw.one(("Repeat: ", "Say again: ", "Repeat after me: ", "Copy: "))
    return Chat((user(request + text), assistant(text)), key=text)


def directory(draw: Draw) -> Chat:
    """A list of pairs, and a question about each."""
    keys = list(dict.fromkeys(_item(draw) for _ in range(draw.random.randint(3, 14))))
    pairs = {key: _item(draw) for key in keys}
    sign = draw.one((": ", " = ", " is ", " -> "))
    told = draw.one(("\n", ", ", ". ")).join(f"{key}{sign}{value}" for key, value in pairs.items())
    messages: list[Message] = [*maybe_system(draw)]
    messages += user(f"Remember this: {told}"), assistant("I will remember that.")
    for key in draw.random.sample(keys, len(keys)):
        asked = draw.one((f"{key}?", f"What is {key}?", f"Tell me {key}.", key))
        messages += user(asked), assistant(pairs[key])
    return Chat(tuple(messages), key=pairs[key])
