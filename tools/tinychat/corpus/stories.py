"""Five-sentence stories."""

from __future__ import annotations

from tools.tinychat.corpus.example import Chat, assistant, maybe_system, user
from tools.tinychat.words import ADJECTIVES, ANIMALS, NOUNS, Draw, is_held_out

_PLACES = (
    "in a small house", "near the river", "in the forest", "on a hill", "by the sea",
    "in a village",
    "under a big tree", "in an old castle", "next to a lake", "on a farm",
)  # fmt: skip
_HEROES = (
    *ANIMALS, "knight", "king", "queen", "princess", "prince", "pirate", "wizard", "witch", "girl",
    "boy", "farmer", "baker", "fisherman", "teacher", "doctor", "giant", "ghost", "astronaut",
    "cloud", "star", "tree", "train", "lamp", "boat",
)  # fmt: skip
_WISHES = (
    "wanted to find a {thing}", "lost a {thing}", "dreamed of a {thing}", "looked for a {thing}",
    "wanted to make a {thing}",
)  # fmt: skip
_TROUBLES = (
    "But it began to rain and the path was dark.", "But the way was long and the wind was cold.",
    "But nobody knew where to look.", "But the river was too wide to cross.",
    "But the night came and the stars were hidden.",
)  # fmt: skip
_HELPS = (
    "Then a {helper} came and offered to help.", "Then a kind {helper} showed the way.",
    "Then an old friend, a {helper}, had a good idea.", "Luckily a {helper} was there to help.",
)  # fmt: skip
_ENDS = (
    "Together they found the {thing} and went home happy.",
    "In the end they shared the {thing} and became friends.",
    "At last they had the {thing}, and everybody was happy.",
    "They laughed, took the {thing} home and slept well.",
)  # fmt: skip


def tell(draw: Draw, hero: str) -> str:
    """A story: who, what for, the trouble, the help, the end."""
    adjective = draw.one(ADJECTIVES)
    article = "an" if adjective[0] in "aeiou" else "a"
    thing, helper, name = draw.one(NOUNS), draw.one(ANIMALS), draw.name()
    place = draw.one(_PLACES)
    sentences = (
        f"Once upon a time there was {article} {adjective} {hero} named {name} who lived {place}.",
        f"One day {name} {draw.one(_WISHES)}.",
        draw.one(_TROUBLES),
        draw.one(_HELPS),
        draw.one(_ENDS),
    )
    return " ".join(sentences).format(thing=thing, helper=helper)


def ask_for_story(draw: Draw) -> Chat:
    while True:
        adjective = f"{draw.one(ADJECTIVES)} " if draw.chance(0.5) else ""
        hero = draw.one(_HEROES)
        start = draw.one(
            (
                "Tell me a story", "Tell me a short story", "Write a story", "Write a short story",
                "Please tell me a story", "Can you tell me a story", "Write a five-sentence story",
                "I would like to hear a story", "Please write a short story", "Tell a story",
            )
        )  # fmt: skip
        request = f"{start} about a {adjective}{hero}."
        if not draw.held_out and draw.chance(0.1):
            request = f"{start}."
        if is_held_out(request) == draw.held_out:
            return Chat((*maybe_system(draw), user(request), assistant(tell(draw, hero))), key=hero)
