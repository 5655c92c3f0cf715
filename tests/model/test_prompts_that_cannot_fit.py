"""Prompts that cannot fit are refused by their length, before they are split into tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llama_cpp import Llama
from llama_cpp.errors import ContextWindowError
from llama_cpp.handles import Vocab
from llama_cpp.models import tinychat


@pytest.fixture(scope="module")
def llama() -> Iterator[Llama]:
    with Llama(tinychat(), n_ctx=256, verbose=False) as opened:
        yield opened


@pytest.fixture
def limit(llama: Llama, monkeypatch: pytest.MonkeyPatch) -> int:
    """The bytes that 256 tokens have at most; nothing longer may be tokenized."""
    longest = llama.weights.vocab.longest_text(256)
    assert longest is not None
    tokenize = Vocab._tokenize

    def checked(vocab: Vocab, encoded: bytes, *options: bool) -> list[int]:
        assert len(encoded) <= longest + 100  # of a text that is cut, one token more
        return tokenize(vocab, encoded, *options)

    monkeypatch.setattr(Vocab, "_tokenize", checked)
    return longest


def test_the_longest_token_is_the_measure(llama: Llama) -> None:
    vocab = llama.weights.vocab
    pieces = [vocab.token_to_piece(token, special=True) for token in range(vocab.n_tokens)]
    longest = vocab.longest_text(1)
    assert longest is not None and max(map(len, pieces)) <= longest
    text = max(pieces, key=len) * 50
    assert len(text) <= (vocab.longest_text(len(vocab.tokenize(text))) or 0)


def test_a_completion_is_refused(llama: Llama, limit: int) -> None:
    for prompt in ("a" * (limit + 1), ["Once", "a" * 10_000_000]):
        with pytest.raises(ContextWindowError, match=f"so many tokens have {limit} at most"):
            llama.create_completion(prompt)
    with pytest.raises(ContextWindowError, match="Requested tokens"):
        llama.create_completion("a" * limit)  # that is found by its tokens


@pytest.mark.parametrize("content", ["a" * 1_000_000, "<|im_end|>" + "a" * 1_000_000])
@pytest.mark.parametrize("role", ["user", "system", "assistant"])
@pytest.mark.parametrize("parse_special", [True, False])
def test_a_chat_is_refused(
    llama: Llama, limit: int, content: str, role: str, parse_special: bool
) -> None:
    messages = [{"role": role, "content": content}, {"role": "user", "content": "Hello"}]
    with pytest.raises(ContextWindowError, match="exceed context window of 256"):
        llama.create_chat_completion(messages, parse_special=parse_special)


@pytest.mark.parametrize("chat_format", ["chatml", "functionary-v2"])
def test_a_chat_in_a_format_is_refused(limit: int, chat_format: str) -> None:
    with Llama(tinychat(), n_ctx=256, verbose=False, chat_format=chat_format) as llama:
        messages = [{"role": "user", "content": "a" * 1_000_000}]
        with pytest.raises(ContextWindowError):
            llama.create_chat_completion(messages)


def test_embeddings_are_cut_first(llama: Llama, limit: int) -> None:
    with Llama(tinychat(), n_ctx=256, embedding=True, verbose=False) as embedding:
        row = embedding.create_embedding("word " * 100_000, truncate=True)
        assert row["usage"]["prompt_tokens"] == 256
        shorter = embedding.create_embedding("word " * 1000, truncate=True)
        assert row["data"] == shorter["data"]


def test_tokenizing_for_its_own_sake_has_no_limit(llama: Llama) -> None:
    assert len(llama.tokenize(b"word " * 10_000)) >= 10_000
