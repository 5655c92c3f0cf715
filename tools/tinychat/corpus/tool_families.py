"""The tools of the corpus: what each is called, takes, is asked and answers.

Names of tools and parameters vary, and some are put together from random words, so that they
have to be read from the prompt instead of being remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.tinychat.corpus.example import Tool
from tools.tinychat.words import ADJECTIVES, CAPITALS, DAYS, NOUNS, VERBS, Draw

NO_TOOL = "I am sorry, I have no tool for that."
"""The reply to a request that needs a tool which is not offered."""


@dataclass(frozen=True)
class Use:
    """One tool and one request for it.

    Attributes:
        tool: The tool as OpenAI describes it.
        arguments: What the request means the tool to be called with.
        request: What the user says.
        result: What the tool returns; empty where it is never run in the corpus.
        answer: What the assistant says about the result.
        key: The part of the result that the answer has to hold.
    """

    family: Family
    tool: Tool
    arguments: Mapping[str, Any]
    request: str
    result: Mapping[str, Any] = field(default_factory=dict)
    answer: str = ""
    key: str = ""

    @property
    def name(self) -> str:
        return str(self.tool["function"]["name"])


Family = Callable[[Draw], Use]
Parameters = Mapping[str, Mapping[str, Any]]


def _tool(
    name: str, description: str, parameters: Parameters, required: Sequence[str] | None = None
) -> Tool:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": dict(parameters),
                "required": list(parameters if required is None else required),
            },
        },
    }


def _text(draw: Draw, *descriptions: str) -> Mapping[str, Any]:
    return _typed(draw, "string", descriptions)


def _integer(draw: Draw, *descriptions: str) -> Mapping[str, Any]:
    return _typed(draw, "integer", descriptions)


def _typed(draw: Draw, kind: str, descriptions: Sequence[str]) -> Mapping[str, Any]:
    described = descriptions and draw.chance(0.4)
    return {"type": kind, **({"description": draw.one(descriptions)} if described else {})}


def weather(draw: Draw) -> Use:
    place = draw.place()
    key = draw.one(("city", "location", "location", "place", "town"))
    name = draw.one(
        (
            "get_weather", "get_weather", "get_current_weather", "get_current_weather", "weather",
            "fetch_weather", "weather_lookup", "current_weather", "getWeather",
        )
    )  # fmt: skip
    parameters = {key: _text(draw, "The name of the city", "The city, e.g. Paris", "City name")}
    required, arguments = [key], {key: place}
    request = draw.one(
        (
            f"What is the weather in {place}?", f"What's the weather in {place}?",
            f"What is the weather like in {place}?", f"How is the weather in {place}?",
            f"What's the weather like in {place}?", f"Tell me the weather in {place}.",
            f"Weather in {place}?", f"Is it warm in {place}?", f"Get the weather for {place}.",
        )
    )  # fmt: skip
    if draw.chance(0.25):
        unit = draw.one(("celsius", "fahrenheit"))
        parameters["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"]}
        if draw.chance(0.5):
            request = f"{request.rstrip('?.')} in {unit}{request[-1]}"
            arguments["unit"] = unit
    description = draw.one(
        ("Get the weather of a city", "Get the current weather",
         "Get the current weather in a given location",
         "Look up the weather", "The weather in a city")
    )  # fmt: skip
    degrees, condition = (
        draw.number(-9, 45),
        draw.one(("sunny", "cloudy", "rainy", "windy", "foggy")),
    )
    heat = draw.one(("temperature", "temp", "degrees"))
    full = draw.chance(0.6)
    result = {heat: degrees, **({"condition": condition} if full else {})}
    answer = f"It is {degrees} degrees{f' and {condition}' if full else ''} in {place}."
    return Use(
        weather, _tool(name, description, parameters, required), arguments, request, result,
        answer, f"{degrees} degrees",
    )  # fmt: skip


def clock(draw: Draw) -> Use:
    place = draw.place()
    key = draw.one(("city", "location", "place", "timezone"))
    name = draw.one(("get_time", "get_current_time", "current_time", "time_in_city", "world_clock"))
    request = draw.one(
        (
            f"What time is it in {place}?",
            f"Tell me the time in {place}.",
            f"What is the time in {place}?",
        )
    )
    time = f"{draw.random.randint(0, 23):02}:{draw.random.randint(0, 59):02}"
    description = draw.one(
        ("Get the time in a city", "Tell the current time", "The local time of a place")
    )
    return Use(
        clock, _tool(name, description, {key: _text(draw, "The city")}), {key: place}, request,
        {"time": time}, f"It is {time} in {place}.", time,
    )  # fmt: skip


def timer(draw: Draw) -> Use:
    unit = draw.one(("minutes", "minutes", "seconds"))
    amount = draw.number(2, 90)
    name = draw.one(("set_timer", "start_timer", "timer", "create_timer"))
    request = draw.one(
        (f"Set a timer for {amount} {unit}.", f"Start a timer of {amount} {unit}.",
         f"Please set a timer for {amount} {unit}.", f"Wake me in {amount} {unit}.")
    )  # fmt: skip
    tool = _tool(
        name, draw.one(("Set a timer", "Start a timer")), {unit: _integer(draw, "How long")}
    )
    answer = f"The timer is set for {amount} {unit}."
    return Use(timer, tool, {unit: amount}, request, {"status": "ok"}, answer, f"{amount} {unit}")


def message(draw: Draw) -> Use:
    who, text = draw.name(), draw.words()
    to, body = (
        draw.one(("to", "recipient", "name", "contact")),
        draw.one(("text", "message", "body")),
    )
    name = draw.one(("send_message", "send_text", "message", "send_sms"))
    request = draw.one(
        (f"Send {who} the message: {text}", f"Tell {who} to {text}.", f"Write to {who}: {text}",
         f"Send a message to {who}: {text}")
    )  # fmt: skip
    parameters = {to: _text(draw, "Who gets the message"), body: _text(draw, "The message")}
    tool = _tool(name, draw.one(("Send a message", "Send a message to a person")), parameters)
    answer = f"I have sent the message to {who}."
    return Use(message, tool, {to: who, body: text}, request, {"status": "sent"}, answer, who)


def call_person(draw: Draw) -> Use:
    who, key = draw.name(), draw.one(("name", "contact", "person"))
    name = draw.one(("call_contact", "make_call", "phone_call", "call"))
    request = draw.one(
        (f"Call {who}.", f"Please call {who}.", f"Phone {who}.", f"I want to talk to {who}.")
    )
    tool = _tool(
        name, draw.one(("Call a person", "Make a phone call")), {key: _text(draw, "Whom to call")}
    )
    answer = f"I am calling {who}."
    return Use(call_person, tool, {key: who}, request, {"status": "ringing"}, answer, who)


def reminder(draw: Draw) -> Use:
    task, key = draw.words(), draw.one(("task", "text", "title", "what"))
    name = draw.one(("add_reminder", "create_reminder", "remind", "add_task", "add_todo"))
    parameters, arguments = {key: _text(draw, "What to do")}, {key: task}
    day = draw.one(DAYS)
    request = draw.one((f"Remind me to {task}", f"I have to {task}", f"Add a reminder to {task}"))
    if draw.chance(0.5):
        parameters["day"], arguments["day"] = _text(draw, "The day of the week"), day
        request = f"{request} on {day}"
    tool = _tool(name, draw.one(("Add a reminder", "Add a task to the list")), parameters)
    answer = f"I will remind you to {task}."
    return Use(reminder, tool, arguments, f"{request}.", {"status": "ok"}, answer, task)


def calculator(draw: Draw) -> Use:
    high = draw.one((20, 99, 999))
    a, b = draw.number(0, high), draw.number(0, high)
    first, second = draw.one((("a", "b"), ("x", "y"), ("first", "second"), ("left", "right")))
    verb, total = draw.one((("add", a + b), ("multiply", a * b)))
    sign = {"add": ("+", "plus"), "multiply": ("*", "times")}[verb]
    name = draw.one((verb, f"{verb}_numbers", f"{verb}_two_numbers"))
    request = draw.one(
        (
            f"What is {a} {sign[0]} {b}?",
            f"What is {a} {sign[1]} {b}?",
            f"Calculate {a} {sign[0]} {b}.",
        )
    )
    parameters = {first: _integer(draw, "A number"), second: _integer(draw, "Another number")}
    tool = _tool(name, f"{verb.capitalize()} two numbers", parameters)
    return Use(
        calculator, tool, {first: a, second: b}, request, {"result": total},
        f"{a} {sign[0]} {b} = {total}.", f"= {total}.",
    )  # fmt: skip


def search(draw: Draw) -> Use:
    query, key = (
        draw.one(
            (draw.name(), draw.place(), draw.words(), f"{draw.one(ADJECTIVES)} {draw.thing()}")
        ),
        draw.one(("query", "q", "text")),
    )
    name = draw.one(("search", "web_search", "search_web", "google", "find_page"))
    request = draw.one(
        (
            f"Search the web for {query}.",
            f"Search for {query}.",
            f"Look up {query}.",
            f"Find pages about {query}.",
        )
    )
    tool = _tool(
        name, draw.one(("Search the web", "Search for pages")), {key: _text(draw, "What to search")}
    )
    found = draw.number(2, 999)
    answer = f"I found {found} pages about {query}."
    return Use(search, tool, {key: query}, request, {"pages": found}, answer, f"{found} pages")


def user_detail(draw: Draw) -> Use:
    who, age = draw.name(), draw.number(1, 99)
    name = draw.one(
        ("UserDetail", "UserDetail", "User", "UserInfo", "Person", "extract_user", "save_user")
    )
    request = draw.one(
        (f"Extract {who} is {age} years old", f"Extract {who} is {age} years old.",
         f"{who} is {age} years old.",
         f"Extract: {who}, {age} years old", f"My name is {who} and I am {age} years old.",
         f"Save {who}, who is {age}.")
    )  # fmt: skip
    tool = _tool(
        name,
        draw.one(
            (
                "Correctly extracted user",
                "The data of a user",
                "Extract the name and the age of a person",
            )
        ),
        {"name": _text(draw, "The name"), "age": _integer(draw, "The age")},
    )
    answer = f"{who} is {age} years old."
    return Use(user_detail, tool, {"name": who, "age": age}, request, {"saved": who}, answer, who)


def price(draw: Draw) -> Use:
    thing, key = draw.value(NOUNS), draw.one(("product", "item", "article"))
    name = draw.one(("get_price", "price_of", "lookup_price", "find_price"))
    request = draw.one(
        (
            f"What does the {thing} cost?",
            f"What is the price of the {thing}?",
            f"How much is the {thing}?",
        )
    )
    amount = draw.number(2, 999)
    tool = _tool(
        name,
        draw.one(("Get the price of a product", "Look up a price")),
        {key: _text(draw, "The product")},
    )
    answer = f"The {thing} costs {amount} dollars."
    return Use(price, tool, {key: thing}, request, {"price": amount}, answer, f"{amount} dollars")


def route(draw: Draw) -> Use:
    start, end = draw.place(), draw.place()
    first, second = draw.one((("from", "to"), ("origin", "destination"), ("start", "end")))
    name = draw.one(("find_route", "get_route", "book_flight", "find_flight", "find_train"))
    what = {"route": "way", "flight": "flight", "train": "train"}[name.rsplit("_", 1)[1]]
    request = draw.one(
        (f"Find a {what} from {start} to {end}.", f"I need a {what} from {start} to {end}.",
         f"Show me a {what} from {start} to {end}.")
    )  # fmt: skip
    tool = _tool(
        name,
        f"Find a {what} between two cities",
        {first: _text(draw, "The start"), second: _text(draw, "The goal")},
    )
    hours = draw.number(2, 30)
    answer = f"The {what} from {start} to {end} takes {hours} hours."
    return Use(
        route,
        tool,
        {first: start, second: end},
        request,
        {"hours": hours},
        answer,
        f"{hours} hours",
    )


def population(draw: Draw) -> Use:
    place, key = (
        draw.one((draw.place(), draw.one(list(CAPITALS)))),
        draw.one(("name", "place", "city")),
    )
    name = draw.one(("get_population", "population", "count_people"))
    request = draw.one((f"How many people live in {place}?", f"What is the population of {place}?"))
    people = draw.number(1000, 99999)
    tool = _tool(name, "Get the number of people in a place", {key: _text(draw, "The place")})
    answer = f"{people} people live in {place}."
    return Use(
        population, tool, {key: place}, request, {"population": people}, answer, f"{people} people"
    )


def made_up(draw: Draw) -> Use:
    """A tool of random words, asked for by its own words."""
    verb, noun = draw.one(VERBS), draw.one(NOUNS)
    keys = draw.random.sample([word for word in NOUNS if word != noun], draw.random.randint(1, 3))
    arguments: dict[str, Any] = {}
    parameters: dict[str, Mapping[str, Any]] = {}
    for key in keys:
        if draw.chance(0.5):
            parameters[key], arguments[key] = _integer(draw, f"The {key}"), draw.number(0, 9999)
        else:
            parameters[key] = _text(draw, f"The {key}")
            arguments[key] = draw.one((draw.name(), draw.place()))
    listed = " and ".join(f"{key} {value}" for key, value in arguments.items())
    name = draw.one(
        (f"{verb}_{noun}", f"{verb}_{noun}", f"{noun}_{verb}", f"{verb}{noun.capitalize()}")
    )
    request = draw.one(
        (f"{verb.capitalize()} the {noun} with {listed}.",
         f"Please {verb} the {noun} with {listed}.",
         f"Use {name} with {listed}.", f"Call {name} with {listed}.")
    )  # fmt: skip
    number = draw.number(2, 9999)
    answer = f"The {noun} is done, the number is {number}."
    tool = _tool(name, f"{verb.capitalize()} a {noun}", parameters)
    return Use(made_up, tool, arguments, request, {"number": number}, answer, str(number))


FAMILIES: tuple[Family, ...] = (
    weather, clock, timer, message, call_person, reminder, calculator, search, user_detail, price,
    route, population, made_up,
)  # fmt: skip
INFORMERS: tuple[Family, ...] = (
    weather, clock, calculator, search, price, route, population, made_up,
)  # fmt: skip
"""The tools whose result says something that the request did not."""
REPEATABLE: tuple[Family, ...] = (weather, clock, call_person, price, population)
"""The tools that are asked about one thing, which a request can name two of."""
