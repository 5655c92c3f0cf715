"""``embed`` and ``create_embedding``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_kit import PROMPT, open_llama, text_of
from zoo import Zoo

from llama_cpp.errors import BusyError, ContextError, InvalidArgumentError, TextError
from llama_cpp.llama import Llama

TEXTS = ["once upon a time", "the water", "what is the answer to this question"]


@pytest.fixture(scope="module")
def bert(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.bert, embedding=True) as model:
        yield model


@pytest.fixture(scope="module")
def minilm_llama(minilm: Path) -> Iterator[Llama]:
    with open_llama(minilm, embedding=True) as model:
        yield model


def test_shape_of_an_answer(bert: Llama) -> None:
    answer: Any = bert.create_embedding(TEXTS, model="some name")
    assert answer["object"] == "list"
    assert answer["model"] == "some name"
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]
    assert {entry["object"] for entry in answer["data"]} == {"embedding"}
    assert [entry["embedding"] for entry in answer["data"]] == bert.embed(TEXTS)
    count = sum(len(bert.tokenize(text.encode())) for text in TEXTS)
    assert answer["usage"] == {"prompt_tokens": count, "total_tokens": count}
    single: Any = bert.create_embedding(TEXTS[0])
    assert single["model"] == bert.model_path
    assert single["data"][0]["embedding"] == answer["data"][0]["embedding"]


def test_a_single_text_gives_a_single_row(bert: Llama) -> None:
    row = bert.embed(TEXTS[0])
    assert len(row) == bert.n_embd() == 128
    assert isinstance(row[0], float)
    assert bert.embed([TEXTS[0]]) == [row]
    assert bert.embed(TEXTS[0], return_count=True) == (row, 6)


def test_texts_are_embedded_as_each_alone(zoo: Zoo) -> None:
    for kind, options in (("bert", {}), ("llama", {"pooling_type": 1}), ("mamba", {})):
        with open_llama(getattr(zoo, kind), embedding=True, **options) as llm:
            alone = [llm.embed(text) for text in TEXTS]
            assert llm.embed(TEXTS) == alone
            assert llm.embed(TEXTS[::-1]) == alone[::-1]


def test_normalization_is_that_of_llama_cpp(bert: Llama) -> None:
    row = np.array(bert.embed(TEXTS[0]))
    for how, expected in (
        (False, row),
        (-1, row),
        (True, row / np.linalg.norm(row)),
        (2, row / np.linalg.norm(row)),
        (1, row / np.abs(row).sum()),
        (0, row / np.abs(row).max() * 32760),
        (3, row / (np.abs(row) ** 3).sum() ** (1 / 3)),
    ):
        assert bert.embed(TEXTS[0], normalize=how) == pytest.approx(expected, rel=1e-5)


def test_without_pooling_there_is_a_row_for_each_token(zoo: Zoo) -> None:
    with open_llama(zoo.llama, embedding=True) as llm:
        rows, count = llm.embed(TEXTS, return_count=True)
        lengths = [len(llm.tokenize(text.encode())) for text in TEXTS]
        assert [np.array(row).shape for row in rows] == [(length, 256) for length in lengths]
        assert count == sum(lengths)
        scaled = np.linalg.norm(llm.embed(TEXTS[0], normalize=True), axis=1)
        assert scaled == pytest.approx(np.ones(lengths[0]), abs=1e-5)


def test_a_ranking_model_gives_scores(zoo: Zoo) -> None:
    for kind, n_scores in (("reranker", 1), ("classifier", 2)):
        with open_llama(getattr(zoo, kind), embedding=True) as llm:
            assert [len(row) for row in llm.embed(TEXTS)] == [n_scores] * 3


def test_texts_that_are_too_long_are_cut_or_refused(bert: Llama) -> None:
    long = "the water " * 300
    row, count = bert.embed(long, return_count=True)
    assert count == 256
    assert row == bert.embed(long + "and more", truncate=True)
    with pytest.raises(InvalidArgumentError, match=r"of 602 tokens .* at most 256 go: create the"):
        bert.embed([TEXTS[0], long], truncate=False)
    assert bert.embed(TEXTS[0], truncate=False) == bert.embed(TEXTS[0])


def test_a_model_of_texts_embeds_and_completes(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as plain:
        expected = text_of(plain, PROMPT)
    with open_llama(zoo.llama, embedding=True, pooling_type=1) as llm:
        before = llm.embed(TEXTS[0])
        assert text_of(llm, PROMPT) == expected
        assert llm.embed(TEXTS[0]) == before
        assert text_of(llm, PROMPT) == expected


def test_what_cannot_embed_says_how_to(zoo: Zoo) -> None:
    for kind in ("llama", "bert"):
        with (
            open_llama(getattr(zoo, kind)) as llm,
            pytest.raises(ContextError, match="create the model with embedding=True"),
        ):
            llm.create_embedding(TEXTS[0])


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_what_cannot_continue_says_so(zoo: Zoo, kind: str) -> None:
    with open_llama(getattr(zoo, kind), embedding=True) as llm:
        for call in (
            lambda: text_of(llm, "the"),
            lambda: llm.create_chat_completion([{"role": "user", "content": "the"}]),
        ):
            with pytest.raises(InvalidArgumentError, match="does not continue texts: use embed"):
                call()


def test_what_is_no_text_is_refused(bert: Llama) -> None:
    with pytest.raises(InvalidArgumentError, match="nothing to embed: give at least one text"):
        bert.embed([])
    with pytest.raises(TextError, match="must be str or bytes, not int"):
        bert.embed([1, 2])  # type: ignore[list-item]


def test_nothing_is_embedded_while_the_sequence_is_in_use(zoo: Zoo) -> None:
    with open_llama(zoo.llama, embedding=True) as llm:
        chunks: Any = llm(PROMPT, stream=True, max_tokens=50)
        next(chunks)
        with pytest.raises(BusyError, match="finish or close it"):
            llm.embed(TEXTS[0])
        chunks.close()
        assert llm.embed(TEXTS[0])


def test_near_meanings_are_near(minilm_llama: Llama) -> None:
    dog, hound, market = (
        np.array(row)
        for row in minilm_llama.embed(
            [
                "A dog is running across the field.",
                "A hound runs over the meadow.",
                "Stock prices fell sharply on Monday.",
            ],
            normalize=True,
        )
    )
    assert minilm_llama.n_embd() == len(dog) == 384
    assert dog @ hound > 0.5
    assert dog @ market < 0.2
