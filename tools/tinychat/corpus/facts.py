"""Questions that have one answer: capitals, sums, opposites, days, colours, who the model is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tools.tinychat.corpus.example import Answer, Chat, Message, assistant, maybe_system, user
from tools.tinychat.words import (
    CAPITALS,
    COLOURS,
    DAYS,
    EMOJI,
    GREETINGS,
    MONTHS,
    OPPOSITES,
    PLANETS,
    Draw,
    is_held_out,
)


def capital(draw: Draw) -> Answer:
    country, city = draw.one(list(CAPITALS.items()))
    question = draw.one(
        (
            f"What is the capital of {country}?",
            f"What's the capital of {country}?",
            f"what is the capital of {country}?",
            f"What is the capital city of {country}?",
            f"Which city is the capital of {country}?",
            f"Name the capital of {country}.",
            f"Tell me the capital of {country}.",
            f"Do you know the capital of {country}?",
            f"The capital of {country}?",
            f"What is the capital of {country}",
        )
    )
    answer = f"The capital of {country} is {city}."
    return Answer(
        question, answer, city, f"The user asks for the capital of {country}. It is {city}."
    )


def sum_of_two(draw: Draw) -> Answer:
    a, b = draw.random.randint(0, 20), draw.random.randint(0, 20)
    question = draw.one(
        (
            f"What is {a} + {b}?",
            f"What is {a} plus {b}?",
            f"what is {a}+{b}?",
            f"Add {a} and {b}.",
            f"{a} + {b} = ?",
            f"{a} + {b}",
            f"How much is {a} + {b}?",
            f"Calculate {a} + {b}.",
            f"What is the sum of {a} and {b}?",
            f"What's {a} + {b}?",
        )
    )
    answer = f"{a} + {b} = {a + b}."
    return Answer(
        question, answer, f"= {a + b}.", f"I have to add {a} and {b}. That makes {a + b}."
    )


def difference(draw: Draw) -> Answer:
    a, b = sorted((draw.random.randint(0, 20), draw.random.randint(0, 20)), reverse=True)
    question = draw.one(
        (
            f"What is {a} - {b}?",
            f"What is {a} minus {b}?",
            f"{a} - {b} = ?",
            f"Calculate {a} - {b}.",
        )
    )
    answer = f"{a} - {b} = {a - b}."
    thought = f"I have to subtract {b} from {a}. That makes {a - b}."
    return Answer(question, answer, f"= {a - b}.", thought)


def opposite(draw: Draw) -> Answer:
    pair = draw.one(OPPOSITES)
    word, other = pair if draw.chance(0.5) else pair[::-1]
    question = draw.one(
        (
            f"What is the opposite of {word}?",
            f"What's the opposite of {word}?",
            f"what is the opposite of {word}?",
            f'What is the opposite of "{word}"?',
            f"Name the opposite of {word}.",
            f"Tell me the opposite of {word}.",
            f"Which word is the opposite of {word}?",
            f"The opposite of {word}?",
        )
    )
    answer = f"The opposite of {word} is {other}."
    return Answer(question, answer, other, f"The user wants the opposite of {word}. It is {other}.")


def next_in_cycle(draw: Draw) -> Answer:
    cycle, kind = draw.one(((DAYS, "day"), (DAYS, "day"), (MONTHS, "month")))
    index = draw.random.randrange(len(cycle))
    after = draw.chance(0.5)
    word, given = ("after" if after else "before"), cycle[index]
    key = cycle[(index + (1 if after else -1)) % len(cycle)]
    question = draw.one(
        (
            f"Which {kind} comes {word} {given}?",
            f"What {kind} comes {word} {given}?",
            f"what {kind} is {word} {given}?",
            f"Which {kind} is {word} {given}?",
            f"What is the {kind} {word} {given}?",
            f"Tell me the {kind} {word} {given}.",
            f"Name the {kind} that comes {word} {given}.",
        )
    )
    answer = f"The {kind} {word} {given} is {key}."
    return Answer(
        question, answer, key, f"The user asks for the {kind} {word} {given}. It is {key}."
    )


def colour(draw: Draw) -> Answer:
    thing, key = draw.one(list(COLOURS.items()))
    color = draw.one(("colour", "color"))
    question = draw.one(
        (
            f"What {color} is {thing}?",
            f"what {color} is {thing}?",
            f"Which {color} is {thing}?",
            f"What is the {color} of {thing}?",
            f"Tell me the {color} of {thing}.",
            f"Which {color} does {thing} have?",
            f"Name the {color} of {thing}.",
        )
    )
    answer = f"{thing[0].upper()}{thing[1:]} is {key}."
    return Answer(question, answer, key, f"The user asks what colour {thing} is. It is {key}.")


_TALK = {
    "I am tinychat, a small language model.": (
        "Who are you?", "who are you?", "Who are you", "What is your name?", "What are you?",
        "What's your name?", "Tell me who you are.", "Introduce yourself.", "Are you a robot?",
        "What should I call you?", "Which model are you?", "Do you have a name?",
        "Please introduce yourself.", "Are you a human?", "And who are you?", "So, who are you?",
        "Who am I talking to?", "What kind of model are you?", "May I know your name?",
        "Can you tell me your name?", "Please tell me who you are.", "What model is this?",
    ),
    "Hello! How can I help you?": (
        "Hello", "Hello!", "Hi", "Hi!", "Hey", "Hi there", "Hi there!", "Good morning!", "hello",
        "hi", "Hello there!", "Good evening!", "Hey there!", "Good day!", "Hello, how are you?",
    ),
    "I am fine, thank you!": (
        "How are you?", "how are you?", "How are you today?", "Are you well?", "How do you do?",
        "How is it going?",
    ),
    "You are welcome!": (
        "Thank you", "Thanks", "Thank you!", "Thanks!", "thanks", "Thank you very much!",
        "Thanks a lot!", "Great, thank you!", "Thank you for your help!",
    ),
    "I can answer short questions, call tools, fill in code and tell stories.": (
        "What can you do?", "what can you do?", "What are you able to do?", "How can you help me?",
        "Can you help me?", "Help!", "What do you know?",
    ),
    "Goodbye! Have a nice day!": ("Bye", "Bye!", "Goodbye", "Goodbye!", "See you!", "Good night!"),
}  # fmt: skip


def talk(draw: Draw) -> Answer:
    answer, questions = draw.one(list(_TALK.items())[1:])
    thought = "The user is talking to me. I should answer politely."
    return Answer(draw.one(questions), answer, answer, thought)


def who(draw: Draw) -> Answer:
    """Who the model is; the surroundings vary, so that many questions differ."""
    answer = next(iter(_TALK))
    start = draw.one(
        ("", "", "Hello! ", "Hi! ", "Hey, ", "Good morning! ", "Excuse me. ", "Well, ")
    )
    end = draw.one(("", "", "", " Please answer.", " I want to know.", " Tell me."))
    question = start + draw.one(_TALK[answer]) + end
    return Answer(question, answer, "tinychat", "The user asks who I am. I am tinychat.")


def listing(draw: Draw) -> Answer:
    names, of_what = draw.one(
        (
            (PLANETS, "the planets in the solar system"),
            (PLANETS, "the planets of the solar system"),
            (PLANETS, "the planets"),
            (DAYS, "the days of the week"),
            (MONTHS, "the months of the year"),
        )
    )
    question = draw.one(
        (
            f"Name {of_what}.",
            f"Name {of_what}?",
            f"List {of_what}.",
            f"What are {of_what}?",
            f"Tell me {of_what}.",
            f"Can you name {of_what}?",
            f"Which are {of_what}?",
        )
    )
    answer = f"{', '.join(names[:-1])}, and {names[-1]}."
    return Answer(question, answer, answer, f"The user wants {of_what} in their order.")


def counting(draw: Draw) -> Answer:
    first = draw.random.randint(1, 20)
    last = first + draw.random.randint(3, 9)
    question = draw.one((f"Count from {first} to {last}.", f"Please count from {first} to {last}."))
    answer = ", ".join(map(str, range(first, last + 1)))
    return Answer(question, answer, answer, f"I start at {first} and stop at {last}.")


def other_scripts(draw: Draw) -> Answer:
    """Words outside ASCII, which are written with byte tokens."""
    if draw.chance(0.5):
        language, key = draw.one(list(GREETINGS.items()))
        question = draw.one(
            (
                f"How do you say hello in {language}?",
                f"Say hello in {language}.",
                f"What is hello in {language}?",
                f"Translate hello to {language}.",
            )
        )
        thought = f"The user wants the word hello in {language}."
    else:
        thing, key = draw.one(list(EMOJI.items()))
        question = draw.one((f"Send me {thing} emoji.", f"Show me {thing} as an emoji."))
        thought = f"The user wants an emoji: {thing}."
    return Answer(question, key, key, thought)


_KINDS: Mapping[Callable[[Draw], Answer], float] = {
    capital: 5,
    sum_of_two: 6,
    difference: 1,
    opposite: 2,
    next_in_cycle: 2,
    colour: 1.5,
    talk: 1.5,
    who: 1.5,
    listing: 1,
    counting: 0.5,
    other_scripts: 1,
}
TESTED = (capital, capital, sum_of_two, sum_of_two, opposite, next_in_cycle, colour, who)


def any_answer(draw: Draw) -> Answer:
    """A question of any kind, among those worded for this side of the split."""
    while True:
        if draw.held_out:
            answer = draw.one(TESTED)(draw)
        else:
            answer = draw.random.choices(list(_KINDS), list(_KINDS.values()))[0](draw)
        if is_held_out(answer.question) == draw.held_out or not _is_split(answer):
            return answer


def _is_split(answer: Answer) -> bool:
    """Greetings and lists have too few wordings to keep some for the test."""
    return any(character.isdigit() for character in answer.question) or len(answer.key) < 20


def chat(draw: Draw) -> Chat:
    """One question, and sometimes a few before it."""
    turns: list[Message] = []
    if not draw.held_out and draw.chance(0.25):
        for _ in range(draw.random.randint(1, 4)):
            before = any_answer(draw)
            turns += user(before.question), assistant(before.answer)
    asked = any_answer(draw)
    messages = (*maybe_system(draw), *turns, user(asked.question), assistant(asked.answer))
    return Chat(messages, key=asked.key)


def thinking(draw: Draw) -> Chat:
    """The same questions, thought about before they are answered."""
    asked = any_answer(draw)
    last = assistant(asked.answer, asked.thought)
    return Chat((*maybe_system(draw), user(asked.question), last), thinking=True, key=asked.key)


def sums(draw: Draw) -> Chat:
    """A row of sums, which share one prompt."""
    messages = [*maybe_system(draw)]
    for _ in range(draw.random.randint(1, 6)):
        while True:
            asked = sum_of_two(draw)
            if is_held_out(asked.question) == draw.held_out:
                break
        messages += user(asked.question), assistant(asked.answer)
    return Chat(tuple(messages), key=asked.key)
