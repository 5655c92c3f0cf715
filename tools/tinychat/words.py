"""Word lists and the split of all values into those to train on and those to test with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")

HELD_OUT_SHARE = 5
"""One value in this many is never seen in training."""

CAPITALS = {
    "Albania": "Tirana", "Algeria": "Algiers", "Argentina": "Buenos Aires", "Armenia": "Yerevan",
    "Australia": "Canberra", "Austria": "Vienna", "Belgium": "Brussels", "Bolivia": "Sucre",
    "Brazil": "Brasilia", "Bulgaria": "Sofia", "Cambodia": "Phnom Penh", "Canada": "Ottawa",
    "Chile": "Santiago", "China": "Beijing", "Colombia": "Bogota", "Croatia": "Zagreb",
    "Cuba": "Havana", "Cyprus": "Nicosia", "Denmark": "Copenhagen", "Ecuador": "Quito",
    "Egypt": "Cairo", "Estonia": "Tallinn", "Ethiopia": "Addis Ababa", "Finland": "Helsinki",
    "France": "Paris", "Georgia": "Tbilisi", "Germany": "Berlin", "Ghana": "Accra",
    "Greece": "Athens", "Hungary": "Budapest", "Iceland": "Reykjavik", "India": "New Delhi",
    "Indonesia": "Jakarta", "Iran": "Tehran", "Iraq": "Baghdad", "Ireland": "Dublin",
    "Italy": "Rome", "Jamaica": "Kingston", "Japan": "Tokyo", "Jordan": "Amman",
    "Kenya": "Nairobi", "Latvia": "Riga", "Lebanon": "Beirut", "Lithuania": "Vilnius",
    "Luxembourg": "Luxembourg", "Malaysia": "Kuala Lumpur", "Malta": "Valletta",
    "Mexico": "Mexico City", "Mongolia": "Ulaanbaatar", "Morocco": "Rabat", "Nepal": "Kathmandu",
    "New Zealand": "Wellington", "Nigeria": "Abuja", "Norway": "Oslo", "Pakistan": "Islamabad",
    "Panama": "Panama City", "Peru": "Lima", "Poland": "Warsaw", "Portugal": "Lisbon",
    "Romania": "Bucharest", "Russia": "Moscow", "Rwanda": "Kigali", "Senegal": "Dakar",
    "Serbia": "Belgrade", "Singapore": "Singapore", "Slovakia": "Bratislava",
    "Slovenia": "Ljubljana", "Somalia": "Mogadishu", "South Korea": "Seoul", "Spain": "Madrid",
    "Sudan": "Khartoum", "Sweden": "Stockholm", "Switzerland": "Bern", "Syria": "Damascus",
    "Thailand": "Bangkok", "Tunisia": "Tunis", "Turkey": "Ankara", "Uganda": "Kampala",
    "Ukraine": "Kyiv", "Uruguay": "Montevideo", "Venezuela": "Caracas", "Vietnam": "Hanoi",
    "Zambia": "Lusaka", "Zimbabwe": "Harare",
}  # fmt: skip

OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("fast", "slow"), ("happy", "sad"),
    ("old", "young"), ("day", "night"), ("black", "white"), ("open", "closed"), ("left", "right"),
    ("light", "dark"), ("high", "low"), ("full", "empty"), ("hard", "soft"), ("long", "short"),
    ("rich", "poor"), ("strong", "weak"), ("wet", "dry"), ("good", "bad"), ("early", "late"),
    ("near", "far"), ("loud", "quiet"), ("thick", "thin"), ("clean", "dirty"), ("true", "false"),
    ("inside", "outside"), ("first", "last"), ("safe", "dangerous"), ("wide", "narrow"),
    ("sweet", "sour"), ("brave", "afraid"), ("begin", "end"), ("win", "lose"), ("buy", "sell"),
    ("push", "pull"), ("above", "below"), ("always", "never"), ("love", "hate"),
)  # fmt: skip

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
PLANETS = ("Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune")

COLOURS = {
    "the sky": "blue", "grass": "green", "snow": "white", "the sun": "yellow", "blood": "red",
    "coal": "black", "a banana": "yellow", "a tomato": "red", "an orange": "orange",
    "a lemon": "yellow", "a carrot": "orange", "milk": "white", "a leaf": "green",
    "a frog": "green", "chocolate": "brown", "the sea": "blue", "a strawberry": "red",
    "an elephant": "grey", "a flamingo": "pink",
    "a crow": "black", "a cucumber": "green", "salt": "white",
    "a cherry": "red", "the night": "black", "a pumpkin": "orange", "a polar bear": "white",
}  # fmt: skip

GREETINGS = {
    "French": "Bonjour", "German": "Hallo", "Spanish": "Hola", "Italian": "Ciao",
    "Portuguese": "Olá", "Japanese": "こんにちは", "Chinese": "你好", "Russian": "Привет",
    "Greek": "Γειά σου",  # noqa: RUF001
    "Korean": "안녕하세요", "Turkish": "Merhaba", "Czech": "Dobrý den",
}  # fmt: skip
EMOJI = {
    "a smile": "😀", "a heart": "❤️", "a cat": "🐱", "a dog": "🐶", "the sun": "☀️",
    "a fire": "🔥", "a rocket": "🚀", "a star": "⭐", "a pizza": "🍕", "a tree": "🌳",
    "a flag": "🏁", "a cake": "🎂",
}  # fmt: skip

FIRST_NAMES = (
    "Aaron Abigail Adam Adele Agnes Alan Albert Alice Alma Amanda Amir Amy Ana Andrea Andrew "
    "Anita Anna Anton Arthur Astrid Barbara Beatrice Ben Bernard Bianca Bob Boris Brenda Brian "
    "Bruno Carla Carlos Caroline Charles Chloe Clara Claude Colin Cora Cynthia Daniel Daria David "
    "Deborah Dennis Diana Diego Dora Douglas Edgar Edith Eduardo Elena Eli Elias Elise Emil Emily "
    "Emma Eric Erika Esther Ethan Eva Fatima Felix Fiona Florence Frank Freya Gabriel George Gina "
    "Gloria Grace Greta Gustav Hannah Harold Harry Hassan Heidi Helen Henry Hugo Ian Ida Igor "
    "Ingrid Irene Isaac Ivan Ivy Jack Jacob James Jane Jason Jasper Jean Jenny Joan Joel John "
    "Jonas Josef Judith Julia Kai Karen Karl Katrin Kevin Kim Klara Lars Laura Leah Leo Leon Lily "
    "Linda Lisa Louis Lucy Luis Lukas Lydia Marco Margaret Maria Mark Marta Martin Mary Matteo "
    "Max Maya Mia Michael Mira Mohammed Monica Nadia Nathan Nina Noah Nora Olga Oliver Olivia "
    "Oscar Otto Pablo Patricia Paul Paula Pedro Peter Petra Philip Rachel Ralph Rebecca Rita "
    "Robert Rosa Ruth Sam Samuel Sandra Sara Sebastian Simon Sofia Sonia Stella Stephen Susan "
    "Tara Thomas Tim Tobias Tom Ursula Valerie Vera Victor Viktor Violet Walter Wendy William "
    "Wilma Xavier Yara Yusuf Zara Zoe"
).split()

NOUNS = (
    "apple bag ball basket bell bench bike bird boat book bottle box bread brick bridge broom "
    "brush bucket button cake camera candle car carpet castle chain chair cheese clock cloud coat "
    "coffee coin cup curtain desk door dress drum egg engine fence field flower flute forest fork "
    "garden gate glass glove guitar hammer hat hill honey house jacket jar kettle key kite knife "
    "ladder lake lamp letter map milk mirror money mountain music nail needle nest oven paint "
    "paper path pencil piano picture pillow plate pond pot radio rice ring river road roof room "
    "rope salad sand school scissors shelf ship shirt shoe shop shovel soap sock sofa soup spoon "
    "stone street sugar table tea tent ticket towel town toy train tree truck umbrella violin "
    "wall watch water wheel window wood yard"
).split()
VERBS = (
    "buy bring call check clean cook cut draw feed find fix fold hang hide lift make move open "
    "order pack paint pick plant polish print read repair sell send sharpen sort sweep take throw "
    "wash water wrap"
).split()
ADJECTIVES = (
    "big blue bright brown clean cold dark deep dry empty fresh full golden green grey happy "
    "heavy large little long lost new old open pretty purple quiet red round shiny short silver "
    "slow small soft strong sweet tall tiny warm wet white wide wooden yellow young"
).split()
ANIMALS = (
    "bear bee bird cat cow crab crow deer dog donkey dragon duck eagle fish fox frog goat goose "
    "hare hen horse lamb lion lizard mole monkey mouse otter owl panda parrot penguin pig pony "
    "rabbit robot seal sheep snail snake spider squirrel swan tiger turtle whale wolf"
).split()

_STARTS = "B Br C Ch D Dr F Fr G Gr H J K Kl L M N P Pr Qu R S Sh St T Tr V W Z Th Y".split()
_VOWELS = "a e i o u ai ea ee io ou".split()
_MIDDLES = "b d g k l ll m n nd nn p r rr rt s ss st t v z lm rk".split()
_PERSON_ENDS = "a an en er ia in is o on us ra la na ley ton bert mund wick dor ric mir".split()
_PLACE_ENDS = "ville ton burg ford land dale field stad port mouth wick grad hill view".split()


def is_held_out(value: object) -> bool:
    """Whether a value belongs to the test side, by a hash that never changes."""
    digest = hashlib.blake2b(str(value).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") % HELD_OUT_SHARE == 0


@dataclass
class Draw:
    """A seeded source of values that all come from one side of the split."""

    random: Random
    held_out: bool = False
    blended: float = 0.0
    """Share of the values that only begin like a known word, and go on as nobody can guess."""

    def one(self, choices: Sequence[T]) -> T:
        """Any of ``choices``, of whichever side."""
        return self.random.choice(choices)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def value(self, choices: Sequence[T]) -> T:
        """One of ``choices`` from this side of the split."""
        while True:
            choice = self.random.choice(choices)
            if is_held_out(choice) == self.held_out:
                return choice

    def number(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high`` inclusive, from this side of the split."""
        while True:
            number = self.random.randint(low, high)
            if is_held_out(number) == self.held_out:
                return number

    def name(self) -> str:
        """A first name: half of them real, half made up, so that copying beats remembering."""
        while True:
            name = self.one(FIRST_NAMES) if self.chance(0.5) else self._invent(_PERSON_ENDS)
            name = self.blend(name)
            if is_held_out(name) == self.held_out:
                return name

    def place(self) -> str:
        """A town: half of them capitals, half made up."""
        while True:
            capital = self.chance(0.5)
            place = self.one(list(CAPITALS.values())) if capital else self._invent(_PLACE_ENDS)
            place = self.blend(place)
            if is_held_out(place) == self.held_out:
                return place

    def words(self) -> str:
        """A short errand, like "wash the red car"."""
        while True:
            adjective = self.one(ADJECTIVES) + " " if self.chance(0.4) else ""
            words = f"{self.one(VERBS)} the {adjective}{self.thing()}"
            if is_held_out(words) == self.held_out:
                return words

    def thing(self) -> str:
        """A noun, now and then one that does not exist."""
        if self.chance(0.8):
            return self.blend(self.one(NOUNS))
        return self.blend(self._invent((*_PERSON_ENDS, *_PLACE_ENDS)).lower())

    def blend(self, word: str) -> str:
        """The word, or in their share of cases its beginning with another end."""
        if not self.blended or not self.chance(self.blended) or is_held_out(word):
            return word
        kept = word[: self.random.randint(1, max(1, len(word) - 1))].rstrip()
        ends = [self._syllable() for _ in range(self.random.randint(1, 2))]
        return kept + "".join(ends)

    def _syllable(self) -> str:
        if self.chance(0.3):
            return self.one((*_PERSON_ENDS, *_PLACE_ENDS))
        return self.one(_MIDDLES) + self.one(_VOWELS) + self.one(("", *_MIDDLES))

    def _invent(self, ends: Sequence[str]) -> str:
        stem = self.one(_STARTS) + self.one(_VOWELS)
        if self.chance(0.6):
            stem += self.one(_MIDDLES)
        elif self.chance(0.3):
            stem += self.one(_MIDDLES) + self.one(_VOWELS) + self.one(_MIDDLES)
        return stem + self.one(ends)
