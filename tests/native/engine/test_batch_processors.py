"""Batch-wise logits processors in the engine: one call a step, with the results of single rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from llama_kit import PROMPT, complete, open_llama
from zoo import Zoo

from llama_cpp.errors import InvalidArgumentError
from llama_cpp.llama import Llama
from llama_cpp.sampling.hooks import BatchLogitsProcessor

PROMPTS = [PROMPT[:20], PROMPT[5:30], PROMPT[7:9]]


@pytest.fixture(scope="module")
def llm(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, n_parallel=4) as model:
        yield model


class ForbidsLast(BatchLogitsProcessor):
    """Forbids the last token of each text, which it keeps as it sees it."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.calls: list[list[list[int]]] = []

    def __call__(self, input_ids: Sequence[Any], scores: Any) -> None:
        assert scores.shape == (len(input_ids), self.n_vocab) and scores.dtype == np.float32
        assert all(ids.dtype == np.int32 for ids in input_ids)
        self.calls.append([ids.tolist() for ids in input_ids])
        scores[np.arange(len(input_ids)), [ids[-1] for ids in input_ids]] = -np.inf


def forbids_last(ids: Any, scores: Any) -> None:
    scores[ids[-1]] = -np.inf


def texts(answer: Any) -> list[str]:
    return [choice["text"] for choice in answer["choices"]]


def test_texts_of_a_call_are_processed_together(llm: Llama) -> None:
    processor = ForbidsLast(llm.n_vocab())
    together = complete(llm, PROMPTS, logits_processor=processor)
    assert texts(together) == texts(complete(llm, PROMPTS, logits_processor=forbids_last))
    # All three are decoded together but for the first steps, in which prompts are.
    assert max(len(call) for call in processor.calls) == 3
    assert sum(len(call) for call in processor.calls) == 3 * 12
    assert len(processor.calls) < 16


def test_a_text_alone_is_one_row(llm: Llama) -> None:
    processor = ForbidsLast(llm.n_vocab())
    alone = complete(llm, PROMPT, logits_processor=[processor])
    assert texts(alone) == texts(complete(llm, PROMPT, logits_processor=forbids_last))
    assert [len(call) for call in processor.calls] == [1] * 12
    assert [len(ids) for (ids,) in processor.calls] == list(range(60, 72))


def test_calls_of_several_threads_share_a_processor(llm: Llama) -> None:
    processor, together = ForbidsLast(llm.n_vocab()), Barrier(4)

    def call(prompt: Sequence[int]) -> Any:
        together.wait()
        return complete(llm, prompt, max_tokens=40, logits_processor=processor)

    prompts = [*PROMPTS, PROMPT]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, prompts))
    for prompt, answer in zip(prompts, answers, strict=True):
        alone = complete(llm, prompt, max_tokens=40, logits_processor=forbids_last)
        assert texts(answer) == texts(alone)
    assert max(len(call) for call in processor.calls) > 1


def test_others_are_not_part_of_the_batch(llm: Llama) -> None:
    plain = texts(complete(llm, PROMPT[:20], max_tokens=40))
    processor = ForbidsLast(llm.n_vocab())
    stream: Any = complete(llm, PROMPT[:20], max_tokens=40, stream=True)
    begun = next(stream)["choices"][0]["text"]
    complete(llm, PROMPT[:40], logits_processor=processor)
    assert {len(call) for call in processor.calls} == {1}
    assert [begun + "".join(chunk["choices"][0]["text"] for chunk in stream)] == plain


def test_stopping_criteria_see_the_processed_scores(llm: Llama) -> None:
    processor = ForbidsLast(llm.n_vocab())

    def stops(ids: Any, scores: Any) -> bool:
        assert scores[ids[-1]] == -np.inf
        return len(ids) >= 25

    answer = complete(llm, PROMPTS, logits_processor=processor, stopping_criteria=stops)
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["stop", "stop", "length"]
    assert answer["usage"]["completion_tokens"] == 5 + 0 + 12


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda ids, scores: scores[:, 1:], InvalidArgumentError, "returned shape"),
        (lambda ids, scores: scores * np.nan, InvalidArgumentError, "left NaN"),
        (lambda ids, scores: ids[5], IndexError, "out of range"),
    ],
    ids=["shape", "nan", "raises"],
)
def test_what_is_wrong_reaches_the_caller(
    llm: Llama, wrong: Callable[..., Any], kind: type[Exception], message: str
) -> None:
    wrong.batch = True  # type: ignore[attr-defined]
    expected = texts(complete(llm, PROMPTS))
    for prompts in (PROMPTS, PROMPT):
        with pytest.raises(kind, match=message):
            complete(llm, prompts, logits_processor=wrong)
    assert texts(complete(llm, PROMPTS)) == expected
    assert len(llm.engine) == 0


def test_methods_that_work_by_hand_take_one(llm: Llama) -> None:
    processor = ForbidsLast(llm.n_vocab())
    llm.reset()
    llm.eval(PROMPT)
    best = llm.sample(temp=0)
    assert llm.sample(temp=0, logits_processor=processor) == best or best == PROMPT[-1]
    assert [len(call) for call in processor.calls] == [1]
