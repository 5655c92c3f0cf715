"""Prompts in every form, with a vocabulary whose tokens are letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from llama_cpp.errors import ContextWindowError, InvalidArgumentError, TokenError
from llama_cpp.generation.prompts import Prompts
from llama_cpp.llama_tokenizer import BaseLlamaTokenizer

BOS, PRE, SUF, MID = 300, 301, 302, 303
N_TOKENS = 310


@dataclass
class Letters:
    """The parts of a vocabulary that prompts need; a token that is -1 does not exist."""

    bos: int = BOS
    add_bos: bool = True
    fim_pre: int = PRE
    fim_suf: int = SUF
    fim_mid: int = MID
    n_tokens: int = N_TOKENS
    longest: int = 1000

    def check_length(self, encoded: bytes) -> None:
        if len(encoded) > self.longest:
            raise ContextWindowError(f"{len(encoded)} bytes")


class LetterTokenizer(BaseLlamaTokenizer):
    """A token per byte, and ``^`` for BOS where special tokens are read."""

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = True) -> list[int]:
        assert not add_bos
        return [BOS if special and byte == ord("^") else byte for byte in text]

    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes:
        assert special
        return b"".join(b"^" if token == BOS else bytes([token]) for token in tokens)


def prompts(spm_infill: bool = False, **vocab: Any) -> Prompts:
    return Prompts(cast("Any", Letters(**vocab)), LetterTokenizer(), spm_infill=spm_infill)


def a(text: str) -> list[int]:
    return list(text.encode())


# Forms.


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("ab", [[BOS, 97, 98]]),
        (["ab", "c"], [[BOS, 97, 98], [BOS, 99]]),
        ([97, 98], [[97, 98]]),
        ((97, 98), [[97, 98]]),
        ([[97], [98, 99]], [[97], [98, 99]]),
        (["a", [98]], [[BOS, 97], [98]]),
        (([97], (98,)), [[97], [98]]),
        (range(97, 100), [[97, 98, 99]]),
        (np.array([97, 98]), [[97, 98]]),
    ],
    ids=repr,
)
def test_a_prompt_is_a_text_or_ids_or_a_list_of_them(
    prompt: Any, expected: list[list[int]]
) -> None:
    assert prompts().tokenize(prompt) == expected


@pytest.mark.parametrize(
    "prompt", [b"ab", bytearray(b"ab"), None, 5, 1.5, {"a": 1}, {97}, iter("")]
)
def test_a_prompt_of_another_type_is_refused(prompt: Any) -> None:
    name = type(prompt).__name__
    with pytest.raises(InvalidArgumentError, match=f"a prompt is a text, .* not {name}"):
        prompts().tokenize(prompt)


@pytest.mark.parametrize("prompt", [[], (), [[]], ["a", []], np.array([], np.int32)], ids=repr)
def test_a_prompt_without_tokens_is_refused(prompt: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="the prompt is empty"):
        prompts().tokenize(prompt)


@pytest.mark.parametrize("prompt", [[-1], [N_TOKENS], [[97], [N_TOKENS]], [2**40]])
def test_ids_are_in_the_vocabulary(prompt: Any) -> None:
    with pytest.raises(TokenError, match=f"{N_TOKENS}|0 to {N_TOKENS - 1}"):
        prompts().tokenize(prompt)
    assert prompts().tokenize([0, N_TOKENS - 1]) == [[0, N_TOKENS - 1]]


@pytest.mark.parametrize("prompt", [[97, "b"], ["a", 98], [1.5], [b"ab"], [None], [["a"]]])
def test_ids_are_integers(prompt: Any) -> None:
    with pytest.raises(TokenError, match="token ids must be integers"):
        prompts().tokenize(prompt)


def test_ids_that_are_given_are_not_changed() -> None:
    prompt = [97, 98]
    tokens = prompts().tokenize(prompt)
    tokens[0].append(99)
    assert prompt == [97, 98]


# BOS.


def test_a_text_begins_with_bos_once() -> None:
    assert prompts().tokenize("^a") == [[BOS, 97]]
    assert prompts().tokenize("^^a") == [[BOS, BOS, 97]]
    assert prompts().tokenize([BOS, 97]) == [[BOS, 97]]


def test_a_text_that_cannot_fit_is_not_tokenized() -> None:
    assert prompts(longest=3).tokenize("abc") == [[BOS, *a("abc")]]
    for prompt, suffix in (("abcd", None), (["a", "abcd"], None), ("a", "abcd"), ("éé", None)):
        with pytest.raises(ContextWindowError):
            prompts(longest=3).tokenize(prompt, suffix)


@pytest.mark.parametrize("vocab", [{"add_bos": False}, {"bos": -1}, {"bos": -1, "add_bos": False}])
def test_a_model_without_bos_gets_the_text_only(vocab: dict[str, Any]) -> None:
    assert prompts(**vocab).tokenize("ab") == [[97, 98]]


@pytest.mark.parametrize("add_bos", [True, False])
def test_nothing_is_bos(add_bos: bool) -> None:
    assert prompts(add_bos=add_bos).tokenize(["", "a"])[0] == [BOS]


@pytest.mark.parametrize("add_bos", [True, False])
def test_without_bos_nothing_is_no_prompt(add_bos: bool) -> None:
    with pytest.raises(InvalidArgumentError, match="the prompt is empty"):
        prompts(bos=-1, add_bos=add_bos).tokenize("")


def test_half_a_surrogate_pair_reaches_the_tokenizer() -> None:
    assert prompts().tokenize("\ud800") == [[BOS, 0xED, 0xA0, 0x80]]


# Filling in.


def test_the_middle_comes_after_both_ends() -> None:
    assert prompts().tokenize("ab", "cd") == [[BOS, PRE, *a("ab"), SUF, *a("cd"), MID]]


def test_some_models_want_the_suffix_first() -> None:
    assert prompts(spm_infill=True).tokenize("ab", "cd") == [
        [BOS, SUF, *a("cd"), PRE, *a("ab"), MID]
    ]


def test_either_end_may_be_empty() -> None:
    assert prompts().tokenize("", "") == [[BOS, PRE, SUF, MID]]
    assert prompts(add_bos=False, fim_mid=-1).tokenize("a", "") == [[PRE, 97, SUF]]


def test_text_to_fill_in_has_no_special_tokens() -> None:
    assert prompts().tokenize("^", "^") == [[BOS, PRE, *a("^"), SUF, *a("^"), MID]]


def test_texts_and_ids_get_the_suffix() -> None:
    mixed: Any = ["a", [98], [BOS, 98]]
    filled = [BOS, PRE, 98, SUF, 99, MID]
    assert prompts().tokenize(mixed, "c") == [[BOS, PRE, 97, SUF, 99, MID], filled, filled]
    assert prompts(fim_pre=-1).tokenize(mixed, "c") == [[BOS, 97], [98], [BOS, 98]]


@pytest.mark.parametrize("vocab", [{"fim_pre": -1}, {"fim_suf": -1}])
def test_a_model_that_cannot_fill_in_gets_the_prefix(vocab: dict[str, Any]) -> None:
    assert not prompts(**vocab).can_fill_in and prompts().can_fill_in
    assert prompts(**vocab).tokenize("a", "b") == [[BOS, 97]]


# Echoing.


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("^ab", ["^ab"]),
        ([BOS, 97], ["^a"]),
        (["", [98], (0xC3, 0xA9)], ["", "b", "é"]),
        ([0xC3], ["\N{REPLACEMENT CHARACTER}"]),
    ],
)
def test_prompts_come_back_as_texts(prompt: Any, expected: list[str]) -> None:
    assert prompts().texts(prompt) == expected
