"""Draft models: the text is that without, whatever they guess."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from llama_kit import GREEDY, PROMPT, complete, joined, open_llama, text_of
from zoo import Zoo

from llama_cpp.engine.draft_length import LENGTH_MAX, DraftLength
from llama_cpp.errors import InvalidArgumentError, TokenError
from llama_cpp.llama import Llama
from llama_cpp.llama_speculative import LlamaDraftModel, LlamaPromptLookupDecoding

REPEATED = PROMPT[:12] * 4


class Draft(LlamaDraftModel):
    """Guesses what a function says."""

    def __init__(self, guess: Callable[[list[int]], Sequence[Any]]) -> None:
        self.guess = guess
        self.n_calls = 0

    def __call__(self, input_ids: Any, /, **kwargs: Any) -> Any:
        assert input_ids.dtype == np.int32
        self.n_calls += 1
        return np.array(self.guess(input_ids.tolist()), np.intc)


def knows(tokens: list[int], wrong_after: int = 10**9) -> Callable[[list[int]], list[int]]:
    """Guesses the rest of a text that it knows, and from some place on something else."""

    def guess(ids: list[int]) -> list[int]:
        if tokens[: len(ids)] != ids:
            return [300, 301, 302]
        following = tokens[len(ids) : len(ids) + 8]
        return following[:wrong_after] + [(t + 1) % 684 for t in following[wrong_after:]]

    return guess


def nonsense(ids: list[int]) -> list[int]:
    return [(ids[-1] * 7 + n) % 684 for n in range(10)]


def tokens_of(llm: Llama, prompt: list[int], count: int) -> list[int]:
    llm.reset()
    text_of(llm, prompt, max_tokens=count)
    return [int(token) for token in llm.input_ids[: llm.n_tokens]]


@pytest.mark.parametrize(
    "options",
    [
        GREEDY,
        {"temperature": 0, "repeat_penalty": 1.2, "ignore_eos": True},
        {"temperature": 0, "grammar": "root ::= [a-m ]*", "ignore_eos": True},
        {"temperature": 0, "stop": ["ar"], "ignore_eos": True},
        {"temperature": 0, "logit_bias": {"420": 3.0}, "ignore_eos": True},
    ],
    ids=str,
)
def test_the_text_is_that_without(zoo: Zoo, options: dict[str, Any]) -> None:
    with open_llama(zoo.llama) as llm:
        expected = [complete(llm, each, max_tokens=32, **options) for each in (PROMPT, REPEATED)]
        llm.reset()
        known = tokens_of(llm, PROMPT, 33)
    drafts = [
        LlamaPromptLookupDecoding(max_ngram_size=1, num_pred_tokens=3),
        Draft(knows(known)),
        Draft(knows(known, wrong_after=3)),
        Draft(nonsense),
        Draft(lambda ids: [400] * 5000),
    ]
    for draft in drafts:
        with open_llama(zoo.llama, draft_model=draft) as llm:
            for prompt, whole in zip((PROMPT, REPEATED), expected, strict=True):
                answer = complete(llm, prompt, max_tokens=32, **options)
                assert answer["choices"] == whole["choices"]
                assert answer["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
                chunks = complete(llm, prompt, max_tokens=32, stream=True, **options)
                assert joined(list(chunks))["text"] == whole["choices"][0]["text"]


def test_a_seed_draws_the_same(zoo: Zoo) -> None:
    # The odds differ in their last bits, as batches of several tokens are computed otherwise. With
    # nearly equal odds for hundreds of tokens that shows in a few texts.
    options: dict[str, Any] = {"temperature": 0.8, "ignore_eos": True, "max_tokens": 25}
    with open_llama(zoo.llama) as llm:
        expected = [text_of(llm, REPEATED, seed=seed, **options) for seed in range(12)]
    assert len(set(expected)) == 12
    for draft in (LlamaPromptLookupDecoding(), Draft(nonsense), Draft(lambda ids: [])):
        with open_llama(zoo.llama, draft_model=draft) as llm:
            texts = [text_of(llm, REPEATED, seed=seed, **options) for seed in range(12)]
        assert sum(a == b for a, b in zip(texts, expected, strict=True)) >= 9
    assert texts == expected  # those without guesses


def test_right_guesses_save_decodes(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        known = tokens_of(llm, PROMPT, 61)
    draft = Draft(knows(known))
    with open_llama(zoo.llama, draft_model=draft) as llm:
        assert tokens_of(llm, PROMPT, 61) == known
    assert draft.n_calls < 15


@pytest.mark.parametrize("max_tokens", [0, 1, 2, 5, None])
def test_no_more_tokens_than_wanted(zoo: Zoo, max_tokens: int | None) -> None:
    with open_llama(zoo.llama) as llm:
        expected = complete(llm, PROMPT, max_tokens=max_tokens)
        known = tokens_of(llm, PROMPT, 190)
    with open_llama(zoo.llama, draft_model=Draft(knows(known))) as llm:
        answer = complete(llm, PROMPT, max_tokens=max_tokens)
    assert answer["choices"] == expected["choices"]
    assert answer["usage"]["total_tokens"] == expected["usage"]["total_tokens"]


def test_logprobs_are_those_without(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        expected = complete(llm, REPEATED, max_tokens=30, logprobs=3)["choices"][0]
        known = tokens_of(llm, REPEATED, 31)
    with open_llama(zoo.llama, draft_model=Draft(knows(known, wrong_after=4))) as llm:
        choice = complete(llm, REPEATED, max_tokens=30, logprobs=3)["choices"][0]
    assert choice["logprobs"]["tokens"] == expected["logprobs"]["tokens"]
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(
        expected["logprobs"]["token_logprobs"], abs=2e-3
    )


@pytest.mark.parametrize("kind", ["llama", "sliding_window", "mamba", "hybrid"])
def test_every_memory_takes_drafts_or_leaves_them(zoo: Zoo, kind: str) -> None:
    with open_llama(getattr(zoo, kind)) as llm:
        expected = [text_of(llm, REPEATED, max_tokens=40) for _ in range(2)]
    with open_llama(getattr(zoo, kind), draft_model=LlamaPromptLookupDecoding()) as llm:
        assert [text_of(llm, REPEATED, max_tokens=40) for _ in range(2)] == expected


def test_several_texts_are_drafted_together(zoo: Zoo) -> None:
    prompts = [REPEATED, PROMPT, PROMPT[:20] * 2]
    with open_llama(zoo.llama) as llm:
        expected = [text_of(llm, prompt, max_tokens=40) for prompt in prompts]
    with open_llama(zoo.llama, n_parallel=3, draft_model=LlamaPromptLookupDecoding()) as llm:
        answer = complete(llm, prompts, max_tokens=40)
        assert [choice["text"] for choice in answer["choices"]] == expected


@pytest.mark.parametrize(
    ("guess", "error", "message"),
    [
        (lambda ids: [9999], TokenError, "token 9999, but the vocabulary has 684 tokens"),
        (lambda ids: [-1], TokenError, "the draft model gave token -1"),
        (lambda ids: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
)
def test_what_a_draft_model_does_wrong_reaches_the_caller(
    zoo: Zoo, guess: Any, error: type[Exception], message: str
) -> None:
    draft = Draft(guess)
    with open_llama(zoo.llama) as llm:
        expected = text_of(llm, PROMPT, max_tokens=20)
    with open_llama(zoo.llama, draft_model=draft) as llm:
        with pytest.raises(error, match=message):
            complete(llm, PROMPT, max_tokens=20)
        with pytest.raises(error, match=message):
            list(complete(llm, PROMPT, max_tokens=20, stream=True))
        draft.guess = lambda ids: [400]
        assert text_of(llm, PROMPT, max_tokens=20) == expected


def test_prompt_lookup_continues_what_was_seen() -> None:
    lookup = LlamaPromptLookupDecoding(max_ngram_size=2, num_pred_tokens=3)
    seen = [1, 2, 3, 4, 5, 9, 2]
    assert lookup(np.array([*seen, 3], np.intc)).tolist() == [4, 5, 9]
    assert lookup(np.array([*seen, 3, 4], np.intc)).tolist() == [5, 9, 2]
    assert lookup(np.array([7, 8], np.intc)).tolist() == []
    for sizes in ((0, 3), (2, 0)):
        with pytest.raises(InvalidArgumentError, match="must be an integer from 1"):
            LlamaPromptLookupDecoding(*sizes)


# Draft models that are models.


def test_a_model_guesses_for_its_own_kind(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        expected = complete(llm, PROMPT, max_tokens=60)
        for draft in (zoo.llama, str(zoo.llama), llm, "ngram"):
            with open_llama(zoo.llama, draft_model=draft) as drafted:
                for _ in range(2):
                    answer = complete(drafted, PROMPT, max_tokens=60)
                    assert answer["choices"] == expected["choices"]
        assert complete(llm, PROMPT, max_tokens=60)["choices"] == expected["choices"]


def test_usage_counts_the_guesses(zoo: Zoo) -> None:
    with open_llama(zoo.llama) as llm:
        known = tokens_of(llm, PROMPT, 61)
        assert "completion_tokens_details" not in complete(llm, PROMPT)["usage"]
    with open_llama(zoo.llama, draft_model=Draft(knows(known))) as llm:
        details = complete(llm, PROMPT, max_tokens=60)["usage"]["completion_tokens_details"]
        assert details["accepted_prediction_tokens"] > 40
        assert details["rejected_prediction_tokens"] == 0
    with open_llama(zoo.llama, draft_model=Draft(lambda ids: [400] * 5)) as llm:
        details = complete(llm, PROMPT, max_tokens=60)["usage"]["completion_tokens_details"]
        assert details["rejected_prediction_tokens"] > 0


def test_guessing_stops_where_it_does_not_pay(zoo: Zoo) -> None:
    draft = Draft(lambda ids: [400] * 5)
    with open_llama(zoo.llama, draft_model=draft, n_ctx=512) as llm:
        complete(llm, PROMPT, max_tokens=400)
    assert draft.n_calls < 40


def test_models_of_another_vocabulary_are_refused(zoo: Zoo) -> None:
    for other in (zoo.llama_bpe, zoo.mamba):
        with Llama(str(other), verbose=False, vocab_only=True) as vocab:
            same = vocab.n_vocab() == 684
        if not same:
            with pytest.raises(InvalidArgumentError, match="another vocabulary than the model: it"):
                open_llama(zoo.llama, draft_model=other)
    bad: Any
    for bad in (5, [], "no-such-file.gguf"):
        with pytest.raises((InvalidArgumentError, FileNotFoundError)):
            open_llama(zoo.llama, draft_model=bad)


def test_the_odds_are_those_without(zoo: Zoo) -> None:
    """Two samples of 600 texts are told apart by nothing but chance."""
    options: dict[str, Any] = {"max_tokens": 2, "temperature": 1.0, "top_k": 4, "min_p": 0.0}
    counts: list[Counter[str]] = []
    draft: Any
    for draft in (None, Draft(lambda ids: [(ids[-1] + n) % 684 for n in range(4)]), "ngram"):
        with open_llama(zoo.llama, draft_model=draft) as llm:
            texts = [
                text_of(llm, REPEATED, seed=seed + 1000 * len(counts), **options)
                for seed in range(600)
            ]
        counts.append(Counter(texts))
    plain = counts[0]
    for drafted in counts[1:]:
        kinds = [text for text in plain | drafted if plain[text] + drafted[text] >= 10]
        statistic = sum((plain[t] - drafted[t]) ** 2 / (plain[t] + drafted[t]) for t in kinds)
        # Chi squared has its degrees of freedom as mean, and the root of twice that as deviation.
        assert statistic < len(kinds) + 4 * (2 * len(kinds)) ** 0.5


def test_pace_follows_success() -> None:
    pace = DraftLength()
    lengths = []
    for _ in range(10):
        lengths.append(pace.wanted())
        pace.learn(lengths[-1], lengths[-1])
    assert lengths[0] < 4 and lengths == sorted(lengths) and lengths[-1] == LENGTH_MAX
    for _ in range(20):  # the first two of three are right
        pace.learn(3, 2)
    assert 1 <= pace.wanted() <= 3
    skipped = []
    for _ in range(400):
        if wanted := pace.wanted():
            pace.learn(wanted, 0)
            skipped.append(0)
        else:
            skipped[-1] += 1
    assert max(skipped) == 128
    assert sum(map(bool, skipped)) < 12
