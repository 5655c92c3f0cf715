"""Guesses from the text itself, against a scan of every window; what drafts are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_cpp.engine.speculative.drafter import ModelDrafter
from llama_cpp.errors import InvalidArgumentError, TokenError
from llama_cpp.llama_speculative import LlamaDraftModel, LlamaPromptLookupDecoding

# Few different tokens, so that everything was seen before.
TOKENS = st.lists(st.integers(0, 3), max_size=30)
SIZES = st.integers(1, 5)
Ids = npt.NDArray[np.intc]


def ids(tokens: Sequence[int]) -> Ids:
    return np.array(tokens, np.intc)


def naive_guess(tokens: list[int], n_gram: int, n_guess: int, least: int = 1) -> list[int]:
    """What followed the longest end of the text that stands before, where it last does."""
    for size in range(n_gram, least - 1, -1):
        for start in range(len(tokens) - size - 1, -1, -1):
            if tokens[start : start + size] == tokens[-size:]:
                text = list(tokens)
                for index in range(n_guess):
                    text.append(text[start + size + index])  # the guess itself, after the end
                return text[len(tokens) :]
    return []


@given(TOKENS, SIZES, SIZES)
def test_a_guess_is_what_a_scan_of_every_window_finds(
    tokens: list[int], n_gram: int, n_guess: int
) -> None:
    guess = LlamaPromptLookupDecoding(n_gram, n_guess)(ids(tokens))
    assert guess.tolist() == naive_guess(tokens, n_gram, n_guess)
    assert guess.dtype == np.intc and guess.ndim == 1


@given(TOKENS, SIZES, SIZES, SIZES)
def test_ends_that_are_too_short_are_no_reason(
    tokens: list[int], n_gram: int, n_guess: int, least: int
) -> None:
    least, n_gram = sorted((n_gram, least))
    guess = LlamaPromptLookupDecoding(n_gram, n_guess, least)(ids(tokens))
    assert guess.tolist() == naive_guess(tokens, n_gram, n_guess, least)


@given(st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=8), SIZES, SIZES)
def test_a_growing_text_is_guessed_as_from_scratch(
    pieces: list[list[int]], n_gram: int, n_guess: int
) -> None:
    model = LlamaPromptLookupDecoding(n_gram, n_guess)
    tokens: list[int] = []
    for piece in pieces:
        tokens += piece
        assert model(ids(tokens)).tolist() == naive_guess(tokens, n_gram, n_guess)


@given(st.lists(TOKENS, max_size=6), SIZES, SIZES)
def test_a_text_that_changed_is_guessed_as_from_scratch(
    texts: list[list[int]], n_gram: int, n_guess: int
) -> None:
    model = LlamaPromptLookupDecoding(n_gram, n_guess)
    for tokens in texts:
        assert model(ids(tokens)).tolist() == naive_guess(tokens, n_gram, n_guess)


@given(TOKENS, st.integers(0, 30), st.integers(0, 30), TOKENS, SIZES)
def test_a_text_with_a_hole_or_another_end_is_guessed_as_from_scratch(
    tokens: list[int], start: int, end: int, more: list[int], n_gram: int
) -> None:
    model = LlamaPromptLookupDecoding(n_gram, 3)
    model(ids(tokens))
    changed = tokens[:start] + tokens[end:] + more
    assert model(ids(changed)).tolist() == naive_guess(changed, n_gram, 3)
    assert model(ids(tokens)).tolist() == naive_guess(tokens, n_gram, 3)


@given(TOKENS, SIZES, SIZES)
def test_the_static_form_guesses_the_same(tokens: list[int], n_gram: int, n_guess: int) -> None:
    guess = LlamaPromptLookupDecoding.find_candidate_pred_tokens(ids(tokens), n_gram, n_guess)
    assert guess.tolist() == naive_guess(tokens, n_gram, n_guess)


def test_the_later_of_two_places_counts() -> None:
    model = LlamaPromptLookupDecoding(max_ngram_size=2, num_pred_tokens=2)
    assert model(ids([7, 8, 1, 1, 7, 8, 2, 2, 7, 8])).tolist() == [2, 2]


def test_a_longer_match_counts_before_a_later_one() -> None:
    model = LlamaPromptLookupDecoding(max_ngram_size=2, num_pred_tokens=1)
    assert model(ids([7, 8, 1, 9, 8, 2, 7, 8])).tolist() == [1]


@pytest.mark.parametrize("tokens", [[], [5], [1, 2, 3]])
def test_what_was_never_seen_gives_no_guess(tokens: list[int]) -> None:
    guess = LlamaPromptLookupDecoding()(ids(tokens))
    assert guess.tolist() == [] and guess.dtype == np.intc


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (-1, 5), (5, -1)])
def test_sizes_are_positive(arguments: tuple[int, int]) -> None:
    with pytest.raises(InvalidArgumentError, match="must be an integer from 1"):
        LlamaPromptLookupDecoding(*arguments)
    with pytest.raises(InvalidArgumentError, match="must be an integer from 1"):
        LlamaPromptLookupDecoding(2, 5, 3)
    with pytest.raises(InvalidArgumentError, match="must be an integer from 1"):
        LlamaPromptLookupDecoding.find_candidate_pred_tokens(ids([1]), *arguments)


def test_a_draft_model_must_guess() -> None:
    with pytest.raises(TypeError, match="abstract"):
        LlamaDraftModel()  # type: ignore[abstract]


# What the engine makes of guesses.


def drafter(guesses: Any) -> ModelDrafter:
    return ModelDrafter(lambda tokens: guesses, n_vocab=10)


@pytest.mark.parametrize("guesses", [[1, 2, 3], (1, 2, 3), ids([1, 2, 3]), np.array([1, 2, 3])])
def test_guesses_may_be_any_sequence(guesses: Any) -> None:
    drafts = drafter(guesses).draft([5], 3)
    assert drafts == [1, 2, 3]
    assert all(type(token) is int for token in drafts)


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 10))
def test_no_more_guesses_come_than_asked_for(guesses: list[int], n_max: int) -> None:
    assert drafter(guesses).draft([5], n_max) == guesses[:n_max]


@pytest.mark.parametrize("token", [-1, 10, 2**40])
def test_a_guess_is_a_token_of_the_vocabulary(token: int) -> None:
    with pytest.raises(TokenError, match=f"gave token {token}, .* has 10 tokens"):
        drafter([1, token]).draft([5], 2)


def test_guesses_that_are_not_wanted_are_not_looked_at() -> None:
    assert drafter([1, 99]).draft([5], 1) == [1]


def test_a_draft_model_gets_an_array_of_its_own() -> None:
    tokens = [5, 6]

    def overwrites(given: Ids) -> list[int]:
        assert given.dtype == np.int32 and given.tolist() == [5, 6]
        given[:] = 0
        return []

    assert ModelDrafter(overwrites, 10).draft(tokens, 4) == []
    assert tokens == [5, 6]


def test_what_a_draft_model_raises_reaches_the_engine() -> None:
    def fails(tokens: Any) -> list[int]:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ModelDrafter(fails, 10).draft([5], 4)
