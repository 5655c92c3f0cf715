"""Texts are put into batches so that none is lost and none is too full."""

from __future__ import annotations

import random

import pytest

from llama_cpp.embeddings.batches import packed


@pytest.mark.parametrize("seed", range(50))
def test_every_text_is_in_one_batch(seed: int) -> None:
    rng = random.Random(seed)
    budget, n_sequences = rng.randint(8, 100), rng.randint(1, 10)
    lengths = [rng.randint(1, budget) for _ in range(rng.randint(0, 60))]
    batches = list(packed(lengths, budget, n_sequences))
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        assert sum(lengths[number] for number in batch) <= budget
        assert 0 < len(batch) <= n_sequences


def test_texts_of_like_length_come_together() -> None:
    lengths = [5, 50, 5, 50, 5, 50]
    assert list(packed(lengths, 100, 64)) == [[1, 3], [5, 0, 2, 4]]
