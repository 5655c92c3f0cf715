"""``score``, ``perplexity`` and ``memory``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from llama_kit import PROMPT, complete, open_llama, text_of
from zoo import Zoo

from llama_cpp import AsyncLlama
from llama_cpp.errors import (
    ClosedError,
    ContextWindowError,
    InvalidArgumentError,
    LlamaError,
    TokenError,
)
from llama_cpp.handles import Batch
from llama_cpp.llama import Llama

TEXT = "once upon a time"
CONTINUATIONS = [" there was a house", " the water", " a", " and what is the answer"]
KINDS = ["llama", "llama_bpe", "sliding_window", "mamba", "hybrid"]
CLOSE = 1e-3
"""Logits differ in their last bits between batches of different sizes."""


def told(llm: Llama, prompt: Any) -> list[float]:
    """The log-probabilities of a prompt's tokens after the first."""
    answer = complete(llm, prompt, echo=True, logprobs=0, max_tokens=0)
    logprobs: list[float] = answer["choices"][0]["logprobs"]["token_logprobs"]
    return logprobs[1:]


def by_hand(llm: Llama, tokens: list[int]) -> list[float]:
    """The same, from all rows of logits."""
    llm.reset()
    llm.eval(tokens)
    rows = llm.logits_to_logprobs(llm.scores[: len(tokens) - 1])
    return [float(row[token]) for row, token in zip(rows, tokens[1:], strict=True)]


# Scores


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_parallel", [1, 3])
def test_a_score_is_what_an_echoed_completion_tells(zoo: Zoo, kind: str, n_parallel: int) -> None:
    with open_llama(getattr(zoo, kind), n_parallel=n_parallel) as llm:
        scores = llm.score(TEXT, CONTINUATIONS)
        for score, continuation in zip(scores, CONTINUATIONS, strict=True):
            logprobs = told(llm, TEXT + continuation)
            assert score.token_logprobs == pytest.approx(logprobs[-score.n_tokens :], abs=CLOSE)
            assert score.logprob == pytest.approx(sum(score.token_logprobs))
            ids = llm.tokenize(TEXT.encode(), special=True)
            assert ids + score.tokens == llm.tokenize((TEXT + continuation).encode(), special=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_ubatch", [16, 512])
def test_many_are_scored_as_each_alone(zoo: Zoo, kind: str, n_ubatch: int) -> None:
    continuations = [PROMPT[:1], PROMPT[10:13], PROMPT[20:60], PROMPT[3:4], PROMPT[10:14]]
    with open_llama(getattr(zoo, kind), n_parallel=3, n_ubatch=n_ubatch) as llm:
        together = llm.score(PROMPT[:50], continuations)
        for score, continuation in zip(together, continuations, strict=True):
            with open_llama(getattr(zoo, kind)) as other:
                expected = told(other, PROMPT[:50] + continuation)[49:]
                [alone] = other.score(PROMPT[:50], [continuation])
            assert score.tokens == alone.tokens == continuation
            assert score.token_logprobs == pytest.approx(expected, abs=CLOSE)
            assert alone.token_logprobs == pytest.approx(expected, abs=CLOSE)


def test_what_greedy_decoding_gives_is_greedy(llm: Llama) -> None:
    answer = complete(llm, PROMPT, max_tokens=5, logprobs=1)["choices"][0]["text"]
    ids = list(llm.tokenize(answer.encode(), add_bos=False))
    generated: list[int] = []
    for token in llm.generate(PROMPT, temp=0):
        generated.append(token)
        if len(generated) == 5:
            break
    assert len(ids) > 0
    best, other, mixed = llm.score(PROMPT, [generated, PROMPT[:5], [*generated[:4], PROMPT[0]]])
    assert best.is_greedy
    assert not other.is_greedy and not mixed.is_greedy
    assert best.logprob > mixed.logprob


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_parallel", [1, 3])
def test_the_prompt_is_computed_once(
    zoo: Zoo, kind: str, n_parallel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    with open_llama(getattr(zoo, kind), n_parallel=n_parallel, n_ubatch=16) as llm:
        decode = llm._ctx.handle.decode

        def counting(batch: Batch) -> None:
            decoded.append(batch.n_tokens)
            decode(batch)

        monkeypatch.setattr(llm._ctx.handle, "decode", counting)
        llm.score(PROMPT[:50], [PROMPT[:2], PROMPT[5:8], PROMPT[7:8]])
    # Of the prompt only the last token is computed for each continuation: its logits count.
    assert sum(decoded) == 50 + (2 + 3 + 1) + 2


def test_pairs_are_scored_in_their_order(llm: Llama) -> None:
    pairs: list[tuple[Any, Any]] = [
        (TEXT, " a"),
        (PROMPT[:3], PROMPT[3:5]),
        ("", "the"),
        (TEXT, " a"),
    ]
    scores = llm.score(pairs)
    assert scores == [llm.score(*pair)[0] for pair in pairs]
    assert scores[0] == scores[3]


def test_a_single_continuation_needs_no_list(llm: Llama) -> None:
    assert llm.score(TEXT, " a") == llm.score(TEXT, [" a"])
    assert llm.score(TEXT, PROMPT[:2]) == llm.score(TEXT, [PROMPT[:2]])
    arrays: Any = (np.array(PROMPT), np.array(PROMPT[:2]))
    assert llm.score(*arrays) == llm.score(PROMPT, [PROMPT[:2]])


def test_the_spaces_at_the_seam_belong_to_the_continuation(llm: Llama) -> None:
    assert llm.score(TEXT + " ", "the water") == llm.score(TEXT, " the water")
    assert llm.score(TEXT + "\n", "the") == llm.score(TEXT, "\nthe")


def test_a_token_that_spans_the_seam_is_measured_whole(llm: Llama) -> None:
    text = TEXT.encode()
    [score] = llm.score("once upon a ti", "me")
    whole, before = llm.tokenize(text), llm.tokenize(b"once upon a ti")
    n_shared = llm.longest_token_prefix(whole, before)
    assert n_shared < len(before)
    assert score.tokens == whole[n_shared:]


@pytest.mark.parametrize("kind", ["llama", "llama_bpe"])
@pytest.mark.parametrize("prompt", ["", []])
def test_without_a_prompt_a_text_begins(zoo: Zoo, kind: str, prompt: Any) -> None:
    with open_llama(getattr(zoo, kind)) as llm:
        [score] = llm.score(prompt, ["the water"])
        assert score.tokens == llm.tokenize(b"the water", add_bos=False)
        beginning = llm.token_bos() if llm.token_bos() >= 0 else llm.token_eos()
        logprobs = told(llm, [beginning, *score.tokens])
        assert score.token_logprobs == pytest.approx(logprobs, abs=CLOSE)


def test_a_prompt_may_fill_the_context(llm: Llama) -> None:
    room = llm.n_ctx()
    [score] = llm.score((PROMPT * 5)[: room - 2], [PROMPT[:2]])
    assert math.isfinite(score.logprob)


@pytest.mark.parametrize("options", [{"logits_all": True}, {"embedding": True, "pooling_type": 0}])
def test_a_context_with_other_outputs_scores_the_same(
    zoo: Zoo, llm: Llama, options: dict[str, Any]
) -> None:
    with open_llama(zoo.llama, n_parallel=2, **options) as other:
        for score, expected in zip(
            other.score(TEXT, CONTINUATIONS), llm.score(TEXT, CONTINUATIONS), strict=True
        ):
            assert score.token_logprobs == pytest.approx(expected.token_logprobs, abs=CLOSE)


def test_completions_go_on_meanwhile(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_parallel=2) as llm:
        expected, scores = text_of(llm, PROMPT, max_tokens=40), llm.score(TEXT, CONTINUATIONS)
        chunks = iter(complete(llm, PROMPT, max_tokens=40, stream=True))
        text = next(chunks)["choices"][0]["text"]
        again = llm.score(TEXT, CONTINUATIONS)
        assert text + "".join(chunk["choices"][0]["text"] for chunk in chunks) == expected
    for score, before in zip(again, scores, strict=True):
        assert score.token_logprobs == pytest.approx(before.token_logprobs, abs=CLOSE)


# asyncio


def test_what_is_awaited_is_the_same(llm: Llama) -> None:
    async def work() -> None:
        awaited = AsyncLlama(llm)
        score, result = await asyncio.gather(
            awaited.score(TEXT, " a"), awaited.perplexity(PROMPT, n_ctx=16)
        )
        assert score[0].token_logprobs == pytest.approx(expected.token_logprobs, abs=CLOSE)
        assert result.nll == pytest.approx(nll, abs=CLOSE)
        with pytest.raises(InvalidArgumentError, match="empty"):
            await awaited.score(TEXT, "")

    [expected] = llm.score(TEXT, " a")
    nll = llm.perplexity(PROMPT, n_ctx=16).nll
    asyncio.run(asyncio.wait_for(work(), 60))


def test_a_cancelled_measurement_stops(llm: Llama) -> None:
    async def work() -> None:
        task = asyncio.create_task(AsyncLlama(llm).perplexity(PROMPT * 1000, n_ctx=32))
        while not any(slot.request for slot in llm.engine.slots):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while len(llm.engine):
            await asyncio.sleep(0.001)

    expected = llm.score(TEXT, " a")
    asyncio.run(asyncio.wait_for(work(), 60))
    assert llm.score(TEXT, " a") == expected


# Perplexity


@pytest.fixture(scope="module")
def everything(zoo: Zoo) -> Iterator[Llama]:
    with open_llama(zoo.llama, logits_all=True) as model:
        yield model


def perplexity_by_hand(
    llm: Llama, tokens: list[int], n_ctx: int, stride: int | None
) -> tuple[float, float, int]:
    values: list[float] = []
    for begin in range(0, len(tokens) - n_ctx + 1, stride or n_ctx):
        chunk = [llm.token_bos(), *tokens[begin + 1 : begin + n_ctx]]
        n_measured = n_ctx - n_ctx // 2 - 1 if stride is None else stride
        values += by_hand(llm, chunk)[-n_measured:]
    nll = -sum(values) / len(values)
    deviation = np.std(values) / math.sqrt(len(values) - 1)
    return math.exp(nll), float(math.exp(nll) * deviation), len(values)


@pytest.mark.parametrize(("n_ctx", "stride"), [(64, None), (33, None), (64, 16), (50, 49), (20, 1)])
def test_a_perplexity_is_that_of_all_logits(
    everything: Llama, llm: Llama, n_ctx: int, stride: int | None
) -> None:
    tokens = (PROMPT + PROMPT[::-1] + PROMPT[::2])[: 2 * n_ctx + 10]
    result = llm.perplexity(tokens, n_ctx=n_ctx, stride=stride)
    expected = perplexity_by_hand(everything, tokens, n_ctx, stride)
    assert (result.perplexity, result.stderr) == pytest.approx(expected[:2], rel=CLOSE)
    assert result.n_tokens == expected[2]
    assert result.nll == pytest.approx(math.log(result.perplexity))


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_are_measured_as_each_alone(zoo: Zoo, kind: str) -> None:
    tokens = (PROMPT * 5)[:256]
    with open_llama(getattr(zoo, kind)) as llm:
        alone = [llm.perplexity(tokens[begin:][:64], n_ctx=64) for begin in range(0, 256, 64)]
    with open_llama(getattr(zoo, kind), n_parallel=3, n_ubatch=24) as llm:
        together = llm.perplexity(tokens, n_ctx=64)
    assert together.n_chunks == 4
    assert together.n_tokens == 4 * 31
    assert together.nll == pytest.approx(np.mean([each.nll for each in alone]), abs=CLOSE)


def test_a_text_is_tokenized_with_its_bos(llm: Llama) -> None:
    text = "once upon a time there was a house " * 20
    tokens = llm.tokenize(text.encode())
    assert llm.perplexity(text, n_ctx=32) == llm.perplexity(tokens, n_ctx=32)


def test_a_chunk_is_as_long_as_a_sequence_at_most(llm: Llama) -> None:
    assert llm.perplexity(PROMPT * 10) == llm.perplexity(PROMPT * 10, n_ctx=256)


# Memory


@pytest.mark.parametrize("kind", [*KINDS, "bert", "t5"])
def test_memory_is_counted_by_kind(zoo: Zoo, kind: str) -> None:
    with open_llama(getattr(zoo, kind), embedding=kind == "bert") as llm:
        memory = llm.memory()
        assert memory.weights >= 0.9 * llm._model.handle.size
        assert (memory.cache > 0) == llm._ctx.handle.has_memory
        assert memory.compute > 0
        assert memory.used == memory.weights + memory.cache + memory.compute
        assert memory.used == sum(each.used for each in memory.devices)
        assert memory.devices[0].device == "CPU"
        assert memory.devices[0].total > 0


def test_a_cache_takes_what_its_cells_take(zoo: Zoo) -> None:
    with open_llama(zoo.llama, n_ctx=256) as one, open_llama(zoo.llama, n_ctx=1024) as four:
        assert four.memory().cache == 4 * one.memory().cache
        assert four.memory().weights == one.memory().weights
    with open_llama(zoo.llama, n_ctx=256, n_parallel=4) as parallel:
        assert parallel.memory().cache == 4 * one_cache(zoo)


def one_cache(zoo: Zoo) -> int:
    with open_llama(zoo.llama, n_ctx=256) as one:
        return one.memory().cache


# Bad input

BAD_SCORES: list[tuple[type[LlamaError], str, tuple[Any, ...]]] = [
    (InvalidArgumentError, "empty", (TEXT, "")),
    (InvalidArgumentError, "empty", (TEXT, [""])),
    (InvalidArgumentError, "empty", (TEXT, [" a", []])),
    (InvalidArgumentError, "no continuations", (TEXT, [])),
    (InvalidArgumentError, "not int", (TEXT, 3)),
    (InvalidArgumentError, "not bytes", (TEXT, b" a")),
    (InvalidArgumentError, "not NoneType", (TEXT, [" a", None])),
    (InvalidArgumentError, "not dict", (TEXT, {"a": "b"})),
    (InvalidArgumentError, "not int", (3, " a")),
    (InvalidArgumentError, "not NoneType", (None, " a")),
    (InvalidArgumentError, "not generator", (TEXT, (each for each in "ab"))),
    (InvalidArgumentError, "pairs", (TEXT,)),
    (InvalidArgumentError, "pairs", ([],)),
    (InvalidArgumentError, "pairs", ([(TEXT, " a"), TEXT],)),
    (InvalidArgumentError, "pairs", ([(TEXT, " a", " b")],)),
    (TokenError, "99999", (TEXT, [[99999]])),
    (TokenError, "-1", ([-1], " a")),
    (TokenError, "integers", ([0.5], " a")),
    (TokenError, "integers", (TEXT, [["a"]])),
    (ContextWindowError, "exceed", (PROMPT * 5, " a")),
    (ContextWindowError, "exceed", (TEXT, [" a", PROMPT * 5])),
]


@pytest.mark.parametrize(("error", "message", "arguments"), BAD_SCORES)
def test_bad_scores_are_refused(
    llm: Llama, error: type[LlamaError], message: str, arguments: tuple[Any, ...]
) -> None:
    expected = llm.score(TEXT, " a")
    with pytest.raises(error, match=message):
        llm.score(*arguments)
    assert len(llm.engine) == 0
    assert llm.score(TEXT, " a") == expected


BAD_PERPLEXITIES: list[tuple[str, Any, dict[str, Any]]] = [
    ("longer text", PROMPT, {}),
    ("longer text", "", {"n_ctx": 8}),
    ("n_ctx", PROMPT, {"n_ctx": 2}),
    ("n_ctx", PROMPT, {"n_ctx": 257}),
    ("n_ctx", PROMPT, {"n_ctx": "8"}),
    ("stride", PROMPT, {"n_ctx": 8, "stride": 0}),
    ("stride", PROMPT, {"n_ctx": 8, "stride": 8}),
    ("stride", PROMPT, {"n_ctx": 8, "stride": 1.5}),
    ("not bytes", b"text", {"n_ctx": 8}),
    ("not NoneType", None, {"n_ctx": 8}),
    ("99999", [99999] * 20, {"n_ctx": 8}),
    ("integers", ["a"] * 20, {"n_ctx": 8}),
]


@pytest.mark.parametrize(("message", "text", "options"), BAD_PERPLEXITIES)
def test_bad_perplexities_are_refused(
    llm: Llama, message: str, text: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        llm.perplexity(text, **options)
    assert len(llm.engine) == 0
    assert llm.perplexity(PROMPT, n_ctx=16).n_tokens == 3 * 7


def test_models_that_only_embed_measure_nothing(zoo: Zoo) -> None:
    with open_llama(zoo.bert, embedding=True) as llm:
        row = llm.embed("the water")
        with pytest.raises(InvalidArgumentError, match="does not continue texts"):
            llm.score(TEXT, " a")
        with pytest.raises(InvalidArgumentError, match="does not continue texts"):
            llm.perplexity(TEXT)
        assert llm.embed("the water") == row


def test_a_closed_model_measures_nothing(zoo: Zoo) -> None:
    llm = open_llama(zoo.llama)
    llm.close()
    for call in (lambda: llm.score(TEXT, " a"), lambda: llm.perplexity(TEXT), llm.memory):
        with pytest.raises(ClosedError):
            call()


def test_a_vocabulary_measures_nothing(zoo: Zoo) -> None:
    with open_llama(zoo.llama, vocab_only=True) as llm:
        for call in (lambda: llm.score(TEXT, " a"), lambda: llm.perplexity(TEXT), llm.memory):
            with pytest.raises(InvalidArgumentError, match="vocab_only"):
                call()


def test_what_is_interrupted_leaves_no_trace(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_llama(zoo.llama) as llm:
        expected = text_of(llm, PROMPT)
        scores = llm.score(PROMPT, [PROMPT[:40], PROMPT[:3]])
        measure = llm.engine._postprocessor._commit_prompt
        calls = iter([None, KeyboardInterrupt()])

        def interrupted(*arguments: Any) -> None:
            if (error := next(calls)) is not None:
                raise error
            measure(*arguments)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(llm.engine._postprocessor, "_commit_prompt", interrupted)
            llm.score(PROMPT, [PROMPT[:40], PROMPT[:3]])
        assert len(llm.engine) == 0
        again = llm.score(PROMPT, [PROMPT[:40], PROMPT[:3]])
        for each, before in zip(again, scores, strict=True):
            assert each.token_logprobs == pytest.approx(before.token_logprobs, abs=CLOSE)
        assert text_of(llm, PROMPT) == expected
