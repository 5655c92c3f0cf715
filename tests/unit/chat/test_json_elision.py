"""The middle of a JSON text goes without changing what the rest means."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from llama_cpp.chat.json_elision import json_cut


def random_value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(6 if depth < 4 else 3)
    if kind == 0:
        return rng.randint(-1000, 1000)
    if kind == 1:
        return rng.choice([True, None, 1.5])
    if kind == 2:
        return "".join(rng.choice('abc "\\\n{}[],é😀') for _ in range(rng.randrange(60)))
    if kind == 3:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(12))]
    return {f"k{i}": random_value(rng, depth + 1) for i in range(rng.randrange(12))}


@pytest.mark.parametrize("seed", range(300))
def test_the_end_closes_what_was_open(seed: int) -> None:
    rng = random.Random(seed)
    whole = json.dumps(random_value(rng), ensure_ascii=rng.random() < 0.5)
    cut_at = rng.randrange(len(whole) + 1)
    start, end = json_cut(whole[:cut_at], 3)
    assert 0 <= start <= end <= cut_at
    if end:
        assert start >= 3
        assert end <= cut_at - 3
        json.loads(whole[:start] + whole[end:])


def test_a_long_string_loses_nearly_all() -> None:
    text = '{"code": "' + 'print(\\"hi\\")\\n' * 200
    start, end = json_cut(text, 128)
    assert end - start > 0.85 * len(text)


def test_a_long_list_loses_nearly_all() -> None:
    text = '{"numbers": [' + "1234, " * 400
    start, end = json_cut(text, 128)
    assert end - start > 0.85 * len(text)
    assert text[start - 1] == text[end - 1] == ","


@pytest.mark.parametrize("text", ["", "{", '{"a": 1', "12345678901234567890"])
def test_what_is_short_stays(text: str) -> None:
    assert json_cut(text, 128) == (0, 0)
