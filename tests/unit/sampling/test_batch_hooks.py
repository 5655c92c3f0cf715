"""Batch-wise logits processors: who shares a call, in which order, and what they get wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from llama_cpp.errors import LogitsProcessorError
from llama_cpp.sampling.batch_hooks import has_batch, process_rows
from llama_cpp.sampling.hooks import BatchLogitsProcessor, LogitsProcessorList, is_batch, process

Scores = npt.NDArray[np.single]
IDS = [np.array([number, 2, 3], np.intc) for number in range(3)]


class Adds(BatchLogitsProcessor):
    """Adds the first token of each text to its row, and counts the rows of its calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, input_ids: Sequence[Any], scores: Scores) -> None:
        self.calls.append(len(scores))
        assert len(input_ids) == len(scores) and scores.ndim == 2
        scores += np.array([ids[0] for ids in input_ids], np.single)[:, None]


class Returns(BatchLogitsProcessor):
    """Returns what it was made with."""

    def __init__(self, returned: Any) -> None:
        self.returned = returned

    def __call__(self, input_ids: Sequence[Any], scores: Scores) -> Any:
        return self.returned


def doubles(ids: Any, scores: Scores) -> Scores:
    return scores * 2


def run(*processors: Any) -> list[Any]:
    rows = np.tile(np.arange(4, dtype=np.single), (len(processors), 1))
    return process_rows(processors, IDS[: len(processors)], rows)


def listed(results: Sequence[Any]) -> list[list[float]]:
    return [each.tolist() for each in results]


def test_texts_with_the_same_object_share_one_call() -> None:
    adds = Adds()
    assert listed(run([adds], adds, LogitsProcessorList([adds]))) == [
        [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5],
    ]  # fmt: skip
    assert adds.calls == [3]


def test_other_objects_have_calls_of_their_own() -> None:
    one, other = Adds(), Adds()
    run(one, other, one)
    assert (one.calls, other.calls) == ([2], [1])


def test_each_list_keeps_its_order() -> None:
    adds = Adds()
    results = run([adds, doubles], [doubles, adds], [doubles, adds, doubles])
    assert listed(results) == [[0, 2, 4, 6], [1, 3, 5, 7], [4, 8, 12, 16]]
    assert adds.calls == [3]


def test_texts_that_come_to_a_processor_later_are_waited_for() -> None:
    first, shared = Adds(), Adds()
    run([shared], [first, doubles, shared], [[first], [shared]])
    assert (first.calls, shared.calls) == ([2], [3])


def test_lists_of_contrary_order_come_to_an_end() -> None:
    one, other = Adds(), Adds()
    assert listed(run([one, other], [other, one], [one, one])) == [
        [0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7],
    ]  # fmt: skip


def test_rows_that_lie_together_are_not_copied() -> None:
    seen: list[Scores] = []

    class Watches(BatchLogitsProcessor):
        def __call__(self, input_ids: Sequence[Any], scores: Scores) -> None:
            seen.append(scores)

    watches, again = Watches(), Watches()
    rows = np.zeros((3, 4), np.single)
    process_rows([doubles, [watches, again], watches], IDS, rows)
    process_rows([watches, doubles, watches], IDS, rows)
    process_rows([watches, [doubles, watches]], IDS[:2], rows[:2])
    assert [np.shares_memory(scores, rows) for scores in seen] == [True, True, False, False]


def test_new_scores_may_be_returned() -> None:
    returned = [[4, 3, 2, 1], [0, 0, 0, 1]]
    both = Returns(returned)
    results = run(both, both)
    assert listed(results) == returned
    assert all(each.dtype == np.single and each.flags.c_contiguous for each in results)


@pytest.mark.parametrize("shape", [(), (4,), (1, 4), (2, 3), (3, 4), (2, 4, 1)])
def test_another_shape_ends_all_that_share_it(shape: tuple[int, ...]) -> None:
    wrong = Returns(np.zeros(shape))
    *failed, kept = run([wrong, doubles], wrong, doubles)
    for each in failed:
        assert isinstance(each, LogitsProcessorError)
        assert f"shape {shape}" in str(each) and "(2, 4)" in str(each)
    assert kept.tolist() == [0, 2, 4, 6]


def test_nan_ends_the_text_in_whose_row_it_is() -> None:
    some = Returns([[0, 1, 2, 3], [0, np.nan, 2, 3]])
    kept, failed = run([some, doubles], [some, doubles])
    assert kept.tolist() == [0, 2, 4, 6]
    assert isinstance(failed, LogitsProcessorError) and "NaN" in str(failed)


def test_what_one_raises_ends_those_who_share_it() -> None:
    def fails(ids: Any, scores: Any) -> Scores:
        raise KeyError("mine")

    adds = Adds()
    results = run([adds, fails], [fails, adds], adds)
    assert [type(each) for each in results] == [KeyError, KeyError, np.ndarray]
    assert adds.calls == [2]

    fails.batch = True  # type: ignore[attr-defined]
    assert [type(each) for each in run(fails, fails, doubles)] == [KeyError, KeyError, np.ndarray]


def test_one_text_is_one_row() -> None:
    adds = Adds()
    scores = np.arange(4, dtype=np.single)
    processors = LogitsProcessorList([doubles, adds, [adds]])  # type: ignore[list-item]
    assert processors(IDS[2], scores).tolist() == [4, 6, 8, 10]
    assert adds.calls == [1, 1]
    with pytest.raises(LogitsProcessorError, match="shape"):
        process(Returns(np.zeros(4)), IDS[0], scores)
    with pytest.raises(LogitsProcessorError, match="NaN"):
        process(Returns([[0, 0, 0, np.nan]]), IDS[0], scores)


def test_only_a_true_attribute_makes_one() -> None:
    class Runs:
        def batch(self) -> None: ...

        def __call__(self, ids: Any, scores: Any) -> None: ...

    assert is_batch(Adds()) and not is_batch(Runs()) and not is_batch(doubles)
    assert has_batch([doubles, [Adds()]]) and not has_batch([doubles, Runs()])
    assert not has_batch(None)


def test_a_list_of_its_own_kind_is_called_as_one() -> None:
    class Halves(LogitsProcessorList):
        def __call__(self, ids: Any, scores: Scores) -> Scores:
            halves: Scores = super().__call__(ids, scores) * np.single(0.5)
            return halves

    assert listed(run(Halves([doubles]), [Halves([doubles])])) == [[0, 1, 2, 3]] * 2
