"""Logits processors and stopping criteria: both styles of them, and what they get wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from llama_cpp.errors import LogitsProcessorError
from llama_cpp.sampling.hooks import (
    LogitsProcessorList,
    MinTokensLogitsProcessor,
    StoppingCriteriaList,
    process,
)

Row = npt.NDArray[np.single]
IDS = np.array([1, 2, 3], np.intc)


def row() -> Row:
    return np.arange(6, dtype=np.single)


def doubles_in_place(ids: Any, scores: Row) -> None:
    scores *= 2


def adds_one(ids: Any, scores: Row) -> Row:
    return scores + 1


def test_a_processor_may_change_what_it_gets() -> None:
    scores = row()
    changed = process(doubles_in_place, IDS, scores)
    assert changed is scores
    assert changed.tolist() == [0, 2, 4, 6, 8, 10]


def test_a_processor_may_return_new_scores() -> None:
    scores = row()
    assert process(adds_one, IDS, scores).tolist() == [1, 2, 3, 4, 5, 6]
    assert scores.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "returned",
    [
        [5, 4, 3, 2, 1, 0],
        (5.0, 4.0, 3.0, 2.0, 1.0, 0.0),
        np.arange(5, -1, -1, dtype=np.float64),
        np.arange(5, -1, -1, dtype=np.float16),
        np.arange(6, dtype=np.single)[::-1],
        np.arange(5, -1, -1, dtype=">f4"),
    ],
    ids=["list", "tuple", "float64", "float16", "backwards", "big endian"],
)
def test_scores_come_back_as_the_engine_reads_them(returned: Any) -> None:
    changed = process(lambda ids, scores: returned, IDS, row())
    assert changed.dtype == np.dtype(np.single)
    assert changed.dtype.isnative and changed.flags.c_contiguous
    assert changed.tolist() == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("shape", [(), (5,), (7,), (1, 6), (6, 1), (0,)])
def test_scores_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LogitsProcessorError, match="a logits processor returned shape") as raised:
        process(lambda ids, scores: np.zeros(shape, np.single), IDS, row())
    assert str(shape) in str(raised.value) and "(6,)" in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, -np.nan])
def test_nan_is_no_score(value: float) -> None:
    def leaves_one(ids: Any, scores: Row) -> None:
        scores[5] = value

    def returns_one(ids: Any, scores: Row) -> Row:
        return np.append(scores[:5], np.single(value))

    for processor in (leaves_one, returns_one, [returns_one, adds_one]):
        with pytest.raises(LogitsProcessorError, match="left NaN in the scores: use -inf"):
            process(processor, IDS, row())


def test_a_score_may_be_infinite() -> None:
    def forbids(ids: Any, scores: Row) -> Row:
        return np.where(ids.sum() == scores, scores, -np.inf).astype(np.single)

    assert process(forbids, np.array([5], np.intc), row()).tolist() == [-np.inf] * 5 + [5]


@pytest.mark.parametrize("returned", ["scores", object(), {1: 2.0}])
def test_what_is_no_scores_is_refused(returned: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        process(lambda ids, scores: returned, IDS, row())


def test_what_a_processor_raises_reaches_the_caller() -> None:
    def fails(ids: Any, scores: Row) -> Row:
        raise KeyError("mine")

    for processor in (fails, [adds_one, fails], LogitsProcessorList([fails])):
        with pytest.raises(KeyError, match="mine"):
            process(processor, IDS, row())


@pytest.mark.parametrize("kind", [LogitsProcessorList, list, tuple])
def test_processors_run_one_after_another(kind: Callable[[Any], Any]) -> None:
    scores = process(kind([adds_one, doubles_in_place, adds_one]), IDS, row())
    assert scores.tolist() == [3, 5, 7, 9, 11, 13]


def test_a_list_may_be_a_processor_of_another_list() -> None:
    inner = LogitsProcessorList([adds_one])
    inner.append(adds_one)
    assert LogitsProcessorList([inner, inner])(IDS, row()).tolist() == [4, 5, 6, 7, 8, 9]


def test_a_shape_is_checked_after_each_processor() -> None:
    seen: list[tuple[int, ...]] = []

    def cuts(ids: Any, scores: Row) -> Row:
        return scores[:2]

    def watches(ids: Any, scores: Row) -> Row:
        seen.append(scores.shape)
        return scores

    with pytest.raises(LogitsProcessorError, match="shape"):
        LogitsProcessorList([watches, cuts, watches])(IDS, row())
    assert seen == [(6,)]


def test_no_processors_change_nothing() -> None:
    scores = row()
    assert LogitsProcessorList()(IDS, scores) is scores
    assert process([], IDS, scores) is scores


def test_processors_get_the_tokens_so_far() -> None:
    seen: list[list[int]] = []

    def watches(ids: npt.NDArray[np.intc], scores: Row) -> Row:
        seen.append(ids.tolist())
        return scores

    LogitsProcessorList([watches, watches])(IDS, row())
    assert seen == [[1, 2, 3]] * 2


# The end comes late enough.


def test_the_end_is_forbidden_until_there_are_enough_tokens() -> None:
    processor = MinTokensLogitsProcessor(2, token_eos=4)
    allowed = []
    for count in range(3, 7):
        scores = processor(np.arange(count, dtype=np.intc), row())
        assert scores[[0, 1, 2, 3, 5]].tolist() == [0, 1, 2, 3, 5]
        allowed.append(float(scores[4]) == 4)
    assert allowed == [False, False, True, True]


def test_a_minimum_of_none_forbids_nothing() -> None:
    assert MinTokensLogitsProcessor(0, token_eos=4)(IDS, row()).tolist() == row().tolist()


# Criteria.


def test_any_criterion_stops() -> None:
    def is_long(ids: npt.NDArray[np.intc], logits: Row) -> bool:
        return len(ids) >= 3

    def is_sure(ids: npt.NDArray[np.intc], logits: Row) -> bool:
        return float(logits.max()) > 100

    criteria = StoppingCriteriaList([is_sure, is_long])
    assert criteria(IDS, row()) is True
    assert criteria(IDS[:2], row()) is False
    assert criteria(IDS[:2], row() * 100) is True
    assert StoppingCriteriaList()(IDS, row()) is False


def test_what_a_criterion_raises_reaches_the_caller() -> None:
    def fails(ids: Any, logits: Any) -> bool:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        StoppingCriteriaList([fails])(IDS, row())
