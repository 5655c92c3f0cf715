"""Sentences and the JSON objects that hold what they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tools.tinychat.corpus.example import Chat, Message, assistant, system, user
from tools.tinychat.words import ADJECTIVES, ANIMALS, NOUNS, Draw

JSON_PROMPTS = (
    "You are a helpful assistant that outputs in JSON.",
    "You are a helpful assistant that outputs JSON.",
    "Answer in JSON.",
    "Extract the data as JSON.",
    "You extract data and answer with JSON only.",
)

Fields = dict[str, Any]


def _person(draw: Draw) -> tuple[str, Fields]:
    name, age = draw.name(), draw.number(1, 99)
    sentence = draw.one(
        (
            f"{name} is {age} years old",
            f"{name} is {age} years old",
            f"{name} is {age}",
            f"My name is {name} and I am {age} years old",
            f"I am {name} and I am {age}",
            f"{name}, {age} years old",
            f"{name}, aged {age}",
            f"This is {name}, who is {age} years old",
            f"{name} turned {age} today",
            f"At {age}, {name} is happy",
            f"I met {name}, who is {age}",
        )
    )
    return sentence, {"name": name, "age": age}


def _resident(draw: Draw) -> tuple[str, Fields]:
    name, city = draw.name(), draw.place()
    sentence = draw.one(
        (f"{name} lives in {city}", f"{name} is from {city}", f"{name} comes from {city}")
    )
    return sentence, {"name": name, "city": city}


def _person_of_a_place(draw: Draw) -> tuple[str, Fields]:
    name, age, city = draw.name(), draw.number(1, 99), draw.place()
    sentence = draw.one(
        (
            f"{name} is {age} years old and lives in {city}",
            f"{name}, {age}, lives in {city}",
            f"{name} from {city} is {age} years old",
        )
    )
    return sentence, {"name": name, "age": age, "city": city}


def _product(draw: Draw) -> tuple[str, Fields]:
    product, price = draw.one(NOUNS), draw.number(1, 999)
    sentence = draw.one(
        (f"The {product} costs {price} dollars", f"The price of the {product} is {price} dollars")
    )
    return sentence, {"product": product, "price": price}


def _pet(draw: Draw) -> tuple[str, Fields]:
    animal, name, color = draw.one(ANIMALS), draw.name(), draw.one(ADJECTIVES)
    sentence = draw.one((f"The {color} {animal} is called {name}", f"{name} is a {color} {animal}"))
    return sentence, {"name": name, "animal": animal, "color": color}


def _ask(draw: Draw, sentence: str) -> str:
    return draw.one(
        (
            f"Extract {sentence}",
            f"Extract {sentence}",
            f"Extract {sentence}.",
            f"extract {sentence}",
            f"Extract: {sentence}",
            f"Extract the data: {sentence}.",
            f"Extract JSON: {sentence}",
            f"Extract the information from: {sentence}.",
            f"Turn this into JSON: {sentence}",
            f"Give me JSON for this: {sentence}.",
        )
    )


def _schema(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            key: {"type": "integer" if isinstance(value, int) else "string"}
            for key, value in fields.items()
        },
        "required": list(fields),
    }


def extract(draw: Draw) -> Chat:
    """Mostly persons with their ages; the keys stand in a fixed order."""
    if draw.held_out:
        kind = _person
    else:
        kind = draw.one((_person,) * 5 + (_resident, _person_of_a_place, _product, _pet))
    sentence, fields = kind(draw)
    messages: list[Message] = []
    if draw.chance(0.4):
        messages.append(system(draw.one(JSON_PROMPTS)))
    elif draw.chance(0.2):
        messages.append(
            system(f"Answer in JSON that matches this schema: {json.dumps(_schema(fields))}")
        )
    answer = json.dumps(fields, ensure_ascii=False)
    messages += user(_ask(draw, sentence)), assistant(answer)
    return Chat(tuple(messages), key=answer)


def answer_by_schema(draw: Draw) -> Chat:
    """A schema with keys of any name, and a text that gives each of them a value."""
    keys = draw.random.sample(NOUNS, draw.random.randint(1, 4))
    fields: Fields = {key: draw.number(0, 999) if draw.chance(0.5) else draw.name() for key in keys}
    told = draw.one((", ", " and ", ". ")).join(
        f"{draw.one(('the ', ''))}{key} is {value}"
        for key, value in draw.random.sample(list(fields.items()), len(fields))
    )
    answer = json.dumps(fields, ensure_ascii=False)
    messages = (
        system(
            draw.one(
                (
                    "Answer in JSON that matches this schema: ",
                    "You are a helpful assistant that outputs in JSON. Schema: ",
                    "Here is the JSON schema of the answer: ",
                )
            )
            + json.dumps(_schema(fields))
        ),
        user(_ask(draw, told)),
        assistant(answer),
    )
    return Chat(messages, key=answer)
