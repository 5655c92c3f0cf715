"""Texts that are none, or too long, and token ids that stand for no text."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from isolated import Cases, Files, Outcomes

from llama_cpp.errors import InvalidArgumentError, TextError, TokenError
from llama_cpp.handles.deep_stack import LONGEST_RUN
from llama_cpp.handles.model import Model
from llama_cpp.validation import native_arguments as checks

cases = Cases(__file__)

VOCABULARIES = Path(__file__).parents[3] / "vendor" / "llama.cpp" / "models"


@cases.add
def texts_that_are_none_are_refused(files: Files) -> None:
    for path in (files.llama, files.bert, files.t5):
        vocab = Model(path).vocab
        for bad in ("\ud800", "a\udfffb", None, 5, ["a"], memoryview(b"a")):
            with pytest.raises(TextError, match="text"):
                vocab.tokenize(bad)  # type: ignore[arg-type]


@cases.add
def unusual_texts_become_tokens(files: Files) -> None:
    chance = random.Random(1)
    texts: list[str | bytes] = [
        "",
        "\0",
        "a\0b",
        b"\xff\xfe\x80",
        b"\xf0\x9f",
        "\N{PILE OF POO}" * 1000,
        "a" * 50_000,
    ]
    texts += [
        " " * 20_000,
        "\n" * 20_000,
        "<|im_start|>" * 1000,
        bytes(chance.choices(range(0xF4), k=10_000)),
    ]
    for path in (files.llama, files.bert, files.t5, files.mamba):
        vocab = Model(path).vocab
        for text in texts:
            for special in (True, False):
                tokens = vocab.tokenize(text, add_special=special, parse_special=special)
                assert all(0 <= token < vocab.n_tokens for token in tokens)
                vocab.detokenize(tokens, remove_special=special, unparse_special=special)


@cases.add
def bytes_that_make_numbers_above_unicode_are_refused(files: Files) -> None:
    for path in (files.llama, files.bert, files.t5):
        vocab = Model(path).vocab
        for bad in (b"a\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf7\xbf\xbf\xbf"):
            with pytest.raises(TextError, match="no Unicode character at byte"):
                vocab.tokenize(bad)
        vocab.tokenize(b"\xf4\x8f\xbf\xbf")


@cases.add
def stretches_without_white_space_do_not_overflow_the_stack(files: Files) -> None:
    params = Model.default_params()
    params.vocab_only = True
    for name, character in (("deepseek-llm", b"a"), ("falcon", b"."), ("gpt-neox", b"1")):
        vocab = Model(VOCABULARIES / f"ggml-vocab-{name}.gguf", params).vocab
        text = b"word " * 1000 + character * 60_000  # 25,000 overflow a stack of 8 MiB
        tokens = vocab.tokenize(text, add_special=False)
        assert b"".join(map(vocab.token_to_piece, tokens)) == text
        with pytest.raises(TextError, match="bytes without white space .* split it"):
            vocab.tokenize(character * (LONGEST_RUN + 1))
        assert vocab.tokenize(b"hello")


@cases.add
def bytes_are_passed_on_without_a_copy(files: Files) -> None:
    text = b"some bytes"
    assert checks.encoded_text(text) is text


@cases.add
def text_that_is_too_long_is_refused_without_a_copy(files: Files) -> None:
    vocab = files.model.vocab
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for make in (lambda: b"x" * 2**31, lambda: "x" * 2**31):
        with pytest.raises(TextError, match=r"has 2147483648 bytes, .* at most 2147483647: split"):
            vocab.tokenize(make())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1.25 * 2**21  # KiB


@cases.add
def tokens_that_are_none_are_refused(files: Files) -> None:
    for path in (files.llama, files.bert, files.t5):
        vocab = Model(path).vocab
        for bad in (-1, vocab.n_tokens, 2**31, 2**40, -(2**63), "x", 1.5, None):
            functions: list[Callable[[Any], Any]] = [
                vocab.text, vocab.score, vocab.attr, vocab.is_eog, vocab.is_control,
                vocab.token_to_piece,
            ]  # fmt: skip
            for function in functions:
                with pytest.raises(TokenError):
                    function(bad)
            with pytest.raises(TokenError):
                vocab.detokenize([5, bad])  # type: ignore[list-item]
        for no_ids in ("text", b"text", 5, None):
            with pytest.raises(TokenError):
                vocab.detokenize(no_ids)  # type: ignore[arg-type]
        assert vocab.detokenize([]) == b""


@cases.add
def every_token_has_a_piece(files: Files) -> None:
    for path in (files.llama, files.bert, files.t5):
        vocab = Model(path).vocab
        for token in range(vocab.n_tokens):
            for lstrip in (0, 1, 100):
                vocab.token_to_piece(token, lstrip=lstrip, special=True)
            vocab.text(token)


@cases.add
def template_names_that_are_no_texts_are_refused(files: Files) -> None:
    for bad in ("a\0b", "\ud800", 5):
        with pytest.raises((TextError, InvalidArgumentError)):
            files.model.chat_template(bad)  # type: ignore[arg-type]
    assert files.model.chat_template("no such name") is None


@pytest.mark.parametrize("name", cases.names)
def test_bad_text(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""
