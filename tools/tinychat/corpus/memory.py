"""Conversations in which an earlier turn holds the answer, and texts to repeat."""

from __future__ import annotations

from collections.abc import Callable

from tools.tinychat.corpus.example import Chat, Message, assistant, maybe_system, system, user
from tools.tinychat.corpus.facts import any_answer
from tools.tinychat.words import ADJECTIVES, ANIMALS, Draw

# A fact: how it is told, what is said to that, how it is asked for, the answer, the value.
_Fact = tuple[str, str, str, str, str]


def _own_name(draw: Draw) -> _Fact:
    name = draw.name()
    told = (
        f"My name is {name}.",
        f"I am {name}.",
        f"Hello, my name is {name}.",
        f"Hi, I'm {name}!",
        f"Call me {name}.",
        f"my name is {name}",
        f"Hi! My name is {name}. Nice to meet you.",
        f"I'm {name}.",
    )
    asked = (
        "What is my name?",
        "What's my name?",
        "Do you remember my name?",
        "Who am I?",
        "Tell me my name.",
        "what is my name?",
        "Can you tell me my name?",
    )
    return draw.one(told), f"Hello, {name}!", draw.one(asked), f"Your name is {name}.", name


def _number(draw: Draw) -> _Fact:
    kind = draw.one(
        (
            "lucky number",
            "favourite number",
            "favorite number",
            "secret code",
            "room number",
            "house number",
            "pin",
            "age",
            "order number",
            "ticket number",
        )
    )
    high = 99 if kind == "age" else draw.one((99, 999, 9999, 99999))
    value = str(draw.number(2, high))
    told = (
        f"My {kind} is {value}.",
        f"my {kind} is {value}",
        f"Please remember: my {kind} is {value}.",
    )
    asked = (
        f"What is my {kind}?",
        f"What's my {kind}?",
        f"Tell me my {kind}.",
        f"Do you remember my {kind}?",
    )
    return (
        draw.one(told),
        "I will remember that.",
        draw.one(asked),
        f"Your {kind} is {value}.",
        value,
    )


def _bare_number(draw: Draw) -> _Fact:
    value = str(draw.number(2, draw.one((99, 999, 9999))))
    told = (
        f"Remember the number {value}.",
        f"Please remember the number {value}.",
        f"The number is {value}.",
    )
    asked = (
        "What is the number?",
        "What was the number?",
        "Which number did I tell you?",
        "Tell me the number.",
        "Which number did I ask you to remember?",
    )
    return (
        draw.one(told),
        "I will remember that.",
        draw.one(asked),
        f"The number is {value}.",
        value,
    )


def _related_name(draw: Draw) -> _Fact:
    whose = draw.one(
        (
            *(f"{draw.one(ANIMALS)}" for _ in range(3)),
            "brother",
            "sister",
            "mother",
            "father",
            "friend",
            "teacher",
        )
    )
    name = draw.name()
    told = (
        f"My {whose} is called {name}.",
        f"My {whose}'s name is {name}.",
        f"I have a {whose} named {name}.",
    )
    asked = (
        f"What is the name of my {whose}?",
        f"What is my {whose} called?",
        f"What is my {whose}'s name?",
        f"How is my {whose} called?",
    )
    said = f"{name} is a nice name!"
    return draw.one(told), said, draw.one(asked), f"Your {whose} is called {name}.", name


def _home(draw: Draw) -> _Fact:
    place = draw.place()
    told = (f"I live in {place}.", f"I am from {place}.", f"My home is {place}.")
    asked = ("Where do I live?", "Which town do I live in?", "Where is my home?")
    return draw.one(told), "I will remember that.", draw.one(asked), f"You live in {place}.", place


_TESTED: tuple[Callable[[Draw], _Fact], ...] = (_own_name, _number, _bare_number, _own_name)
_FACTS = (*_TESTED, _related_name, _home)


def remember(draw: Draw) -> Chat:
    """One or two facts, other talk in between, then a question about one of them."""
    kinds = draw.random.sample(sorted(set(_TESTED if draw.held_out else _FACTS), key=str), 2)
    facts = [kind(draw) for kind in kinds[: draw.one((1, 1, 2))]]
    messages: list[Message] = [*maybe_system(draw)]
    asked_fact = draw.one(facts)
    together = draw.chance(0.2)
    if together:
        told = " ".join(fact[0] if fact[0][-1] in ".!" else fact[0] + "." for fact in facts)
        if draw.chance(0.3):
            question, answer, key = asked_fact[2:]
            messages += user(f"{told} {question}"), assistant(answer)
            return Chat(tuple(messages), key=key)
        messages += user(told), assistant(facts[-1][1])
    for fact in () if together else facts:
        messages += user(fact[0]), assistant(fact[1])
        for _ in range(draw.one((0, 0, 0, 1, 1, 2, 3))):
            between = any_answer(Draw(draw.random))
            messages += user(between.question), assistant(between.answer)
    _, _, question, answer, key = asked_fact
    messages += user(question), assistant(answer)
    return Chat(tuple(messages), key=key)


def role(draw: Draw) -> Chat:
    """A system prompt that gives the assistant a name."""
    name = draw.name()
    prompt = draw.one(
        (
            f"You are {name}.",
            f"Your name is {name}.",
            f"You are {name}, a helpful assistant.",
            f"You are a helpful assistant named {name}.",
            f"You are an assistant called {name}. Be polite.",
        )
    )
    question = draw.one(("Who are you?", "What is your name?", "What's your name?", "who are you?"))
    return Chat((system(prompt), user(question), assistant(f"I am {name}.")), key=name)


def repeat(draw: Draw) -> Chat:
    """Words to say again exactly: the plainest teacher of copying."""
    pieces = [
        draw.one(
            (
                draw.name(),
                draw.place(),
                str(draw.number(0, 9999)),
                draw.thing(),
                draw.one(ADJECTIVES),
            )
        )
        for _ in range(draw.random.randint(1, 6))
    ]
    text = draw.one((" ", " ", ", ")).join(pieces)
    if draw.chance(0.3):
        text = draw.words()
    question = draw.one(
        (f"Repeat: {text}", f"Say {text}", f"Repeat after me: {text}", f"Echo: {text}")
    )
    return Chat((*maybe_system(draw), user(question), assistant(text)), key=text)
