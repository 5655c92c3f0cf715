"""What ``Llama`` measures with the bundled model: what is true or usual scores higher."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llama_cpp import Llama
from llama_cpp.models import tinychat

CAPITALS = {"Japan": "Tokyo", "France": "Paris", "Italy": "Rome", "Peru": "Lima", "Egypt": "Cairo"}
STORY = "Once upon a time there was a little girl who lived in a small house near the forest. "


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    with Llama(
        tinychat(), n_ctx=512, n_parallel=4, n_threads=1, n_threads_batch=1, verbose=False
    ) as model:
        yield model


@pytest.mark.parametrize(
    "prompt", ["The capital of {} is", "Q: What is the capital of {}? A: It is"]
)
def test_the_right_capital_scores_highest(llm: Llama, prompt: str) -> None:
    cities = list(CAPITALS.values())
    for country, city in CAPITALS.items():
        scores = llm.score(prompt.format(country), [f" {each}." for each in cities])
        best = max(range(len(cities)), key=lambda index: scores[index].logprob)
        assert cities[best] == city
        if prompt.startswith("The"):
            assert [score.is_greedy for score in scores] == [each == city for each in cities]


def test_a_story_is_less_perplexing_than_its_words_in_disorder(llm: Llama) -> None:
    disorder = " ".join(sorted(STORY.split()))
    usual, odd = (llm.perplexity(text, n_ctx=16) for text in (STORY, disorder))
    assert usual.nll < odd.nll
