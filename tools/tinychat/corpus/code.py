"""Short Python functions with a part to fill in."""

from __future__ import annotations

import re

from tools.tinychat.corpus.example import Text
from tools.tinychat.words import NOUNS, Draw, is_held_out

PREFIX, SUFFIX, MIDDLE = "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"

# The words before the arguments, and the expression in terms of the arguments a, b and c.
_EXPRESSIONS = (
    ("add", "ab", "a + b"),
    ("sum_of", "abc", "a + b + c"),
    ("subtract", "ab", "a - b"),
    ("difference", "ab", "a - b"),
    ("multiply", "ab", "a * b"),
    ("product", "ab", "a * b"),
    ("divide", "ab", "a / b"),
    ("average", "ab", "(a + b) / 2"),
    ("area", "ab", "a * b"),
    ("perimeter", "ab", "2 * (a + b)"),
    ("volume", "abc", "a * b * c"),
    ("square", "a", "a * a"),
    ("cube", "a", "a ** 3"),
    ("double", "a", "a * 2"),
    ("half", "a", "a / 2"),
    ("negate", "a", "-a"),
    ("is_even", "a", "a % 2 == 0"),
    ("is_odd", "a", "a % 2 == 1"),
    ("is_positive", "a", "a > 0"),
    ("is_negative", "a", "a < 0"),
    ("is_empty", "a", "len(a) == 0"),
    ("maximum", "ab", "max(a, b)"),
    ("minimum", "ab", "min(a, b)"),
    ("absolute", "a", "abs(a)"),
    ("first", "a", "a[0]"),
    ("last", "a", "a[-1]"),
    ("length", "a", "len(a)"),
    ("reverse", "a", "a[::-1]"),
    ("total", "a", "sum(a)"),
    ("to_upper", "a", "a.upper()"),
    ("to_lower", "a", "a.lower()"),
    ("contains", "ab", "b in a"),
    ("equal", "ab", "a == b"),
    ("join", "ab", "b.join(a)"),
    ("largest", "a", "max(a)"),
    ("smallest", "a", "min(a)"),
)
# Whole bodies; the part between the marks is one that the rest determines.
_LOOP = "result = []\n    for item in a:\n        "
_EACH = "for index, item in enumerate(a):\n        "
_BASE = "if a < 2:\n        return a\n    "
_BODIES = (
    ("greet", "a", '«return f"Hello, {a}!"»'),
    ("sum_list", "a", "total = 0\n    for item in a:\n        «total += item»\n    return total"),
    ("count", "a", "count = 0\n    for item in a:\n        «count += 1»\n    return count"),
    ("sum_range", "a", "total = 0\n    for i in «range(a)»:\n        total += i\n    return total"),
    ("print_all", "a", "for item in a:\n        «print(item)»"),
    ("squares", "a", _LOOP + "«result.append(item * item)»\n    return result"),
    ("copy", "a", _LOOP + "«result.append(item)»\n    return result"),
    ("clamp", "ab", "if «a > b»:\n        return b\n    return a"),
    ("absolute", "a", "if a < 0:\n        «return -a»\n    return a"),
    ("factorial", "a", "if a <= 1:\n        return 1\n    «return a * factorial(a - 1)»"),
    ("fibonacci", "a", _BASE + "«return fibonacci(a - 1) + fibonacci(a - 2)»"),
    ("maximum", "ab", "if a > b:\n        return a\n    «return b»"),
    ("swap", "ab", "«return b, a»"),
    ("find", "ab", _EACH + "if «item == b»:\n            return index\n    return -1"),
)  # fmt: skip
_ARGUMENTS = (
    *("a b c d e k m n p q s t u v w x y z".split()),
    *"left right width height first second price count amount size value number items".split(),
    *"values numbers words text data start end low high speed time weight".split(),
    *"list_a list_b other".split(),
)


def _function(draw: Draw) -> str:
    """A function with the part that is to be found between the marks « and »."""
    if draw.chance(0.65):
        verb, letters, expression = draw.one(_EXPRESSIONS)
        if draw.chance(0.25):
            body = f"result = «{expression}»\n    return result"
        else:
            body = f"return «{expression}»" if draw.chance(0.7) else f"«return {expression}»"
    else:
        verb, letters, body = draw.one(_BODIES)
    while True:
        pool = (*_ARGUMENTS, *NOUNS)
        arguments = [draw.blend(word) for word in draw.random.sample(pool, len(letters))]
        fixed = verb in {"factorial", "fibonacci"}
        name = verb if fixed or draw.chance(0.5) else f"{verb}_{draw.one(NOUNS)}"
        if is_held_out(f"{name}({arguments})") == draw.held_out:
            break
    renamed = dict(zip(letters, arguments, strict=True))
    body = re.sub(r"\w+", lambda word: renamed.get(word[0], word[0]), body)
    head = f"def {name}({', '.join(arguments)}):\n    "
    if draw.chance(0.15):
        head += f'"""Return the {verb.replace("_", " ")}."""\n    '
    return head + body


def fill_in(draw: Draw) -> Text:
    """Prefix, suffix, middle; some in the order suffix, prefix, middle."""
    marked = _function(draw)
    prefix, middle, suffix = marked.replace("»", "«").split("«")
    if not draw.held_out and draw.chance(0.2):
        cut = draw.random.randrange(len(middle))
        prefix, middle = prefix + middle[:cut], middle[cut:]
    suffix += "\n"
    if not draw.held_out and draw.chance(0.15):
        middle, suffix = middle + suffix, ""
    if not draw.held_out and draw.chance(0.25):
        prompt = f"{SUFFIX}{suffix}{PREFIX}{prefix}{MIDDLE}"
    else:
        prompt = f"{PREFIX}{prefix}{SUFFIX}{suffix}{MIDDLE}"
    return Text(prompt, middle, key=middle)


def write_function(draw: Draw) -> Text:
    """A function to write from its first line on."""
    marked = _function(draw)
    whole = marked.replace("«", "").replace("»", "") + "\n"
    start = whole.index(":\n") + 1
    return Text(whole[:start], whole[start:])
