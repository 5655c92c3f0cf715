"""``choose``: probabilities of options, measured as ``score`` measures."""

from __future__ import annotations

import math
from typing import Any

import pytest
from llama_kit import open_llama
from zoo import Zoo

from llama_cpp.errors import ContextWindowError, InvalidArgumentError
from llama_cpp.llama import Llama

TEXT = "once upon a time"
OPTIONS = [" there was a house", " the water", " a man", " what is the answer"]


@pytest.mark.parametrize("kind", ["llama", "llama_bpe", "mamba"])
@pytest.mark.parametrize("n_parallel", [1, 3])
def test_logprobs_are_those_of_scores(zoo: Zoo, kind: str, n_parallel: int) -> None:
    with open_llama(getattr(zoo, kind), n_parallel=n_parallel) as llm:
        for prompt in (TEXT, llm.tokenize(TEXT.encode())):
            choice = llm.choose(prompt, OPTIONS)
            scores = [each.logprob for each in llm.score(prompt, OPTIONS)]
            assert list(choice.logprobs) == list(choice.probabilities) == OPTIONS
            assert list(choice.logprobs.values()) == pytest.approx(scores, abs=1e-3)
            assert choice.index == max(range(len(OPTIONS)), key=scores.__getitem__)
            assert choice.text == OPTIONS[choice.index]
            total = sum(map(math.exp, scores))
            shares = [math.exp(each) / total for each in scores]
            assert list(choice.probabilities.values()) == pytest.approx(shares, abs=1e-3)


def test_where_one_option_begins_another_their_ends_count(llm: Llama) -> None:
    end = llm.token_eos()
    prompt = llm.tokenize(TEXT.encode())
    options = [" the", " the water"]
    choice = llm.choose(prompt, options)
    ids = [[*llm.tokenize(each.encode(), add_bos=False, special=True), end] for each in options]
    scores = [each.logprob for each in llm.score(prompt, ids)]
    assert list(choice.logprobs.values()) == pytest.approx(scores, abs=1e-3)


def test_options_are_measured_from_the_same_token_on(llm: Llama) -> None:
    # The space at the end of the prompt is part of the token of a word.
    spaced = llm.choose("once upon a ", ["time", "house", "."])
    ids = [llm.tokenize(f"once upon a {each}".encode()) for each in ("time", "house", ".")]
    start = min(
        next(n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
        for one in ids for two in ids if one != two
    )  # fmt: skip
    scores = [each.logprob for each in llm.score([(each[:start], each[start:]) for each in ids])]
    differences = [each - scores[0] for each in scores]
    measured = list(spaced.logprobs.values())
    assert [each - measured[0] for each in measured] == pytest.approx(differences, abs=1e-3)


@pytest.mark.parametrize(
    "options", [[], "yes", None, [""], [1], ["a", "a"], [["a"]], {"a": 1}, [b"a"]]
)
def test_options_that_are_none(llm: Llama, options: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="option"):
        llm.choose(TEXT, options)


@pytest.mark.parametrize("prompt", [3, None, b"bytes", {"role": "user"}, [{"role": "nobody"}]])
def test_prompts_that_are_none(llm: Llama, prompt: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        llm.choose(prompt, OPTIONS)


def test_a_single_option_is_chosen(llm: Llama) -> None:
    assert llm.choose(TEXT, [" a"]).probabilities == {" a": 1.0}


def test_what_does_not_fit_is_told(llm: Llama) -> None:
    with pytest.raises(ContextWindowError):
        llm.choose(TEXT, [" a" * 300, " b"])
