"""Upstream's tokenizer cases and vocabularies, through ``Model`` and ``Vocab``."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from upstream_vocabs import NAMES, NAMES_WITH_CASES, read_ids, read_texts, vocab_file

from llama_cpp import llama_cpp as raw
from llama_cpp.errors import TokenError
from llama_cpp.handles.model import Model
from llama_cpp.handles.vocab import Vocab

# What detokenize() does to a text besides joining its pieces. Every vocabulary that is not here
# gives each text back byte by byte; one that is here must really lose something.
CLEANS = "the engine takes the space out of ' ?', ' !', ' .', ' ,', \" 's\" and \" ' \""
LOSSY = {
    "aquila": CLEANS,
    "bert-bge": "WordPiece lowers case, drops accents and does not remember white space",
    "falcon": CLEANS,
    "gemma-4": CLEANS,
    "gpt-2": CLEANS,
    "gpt-neox": CLEANS,
    "llama-bpe": CLEANS,
    "mpt": CLEANS,
    "nomic-bert-moe": "unigram normalizes by NFKC and squeezes white space",
    "refact": CLEANS,
    "starcoder": CLEANS,
}
NORMALIZING = (raw.LLAMA_VOCAB_TYPE_WPM, raw.LLAMA_VOCAB_TYPE_UGM)
SPECIAL = raw.LLAMA_TOKEN_ATTR_UNKNOWN | raw.LLAMA_TOKEN_ATTR_CONTROL


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Each vocabulary in turn; the tests of one run together, so that it is loaded once."""
    return str(request.param)


@pytest.fixture(scope="module")
def vocab(name: str) -> Iterator[Vocab]:
    params = Model.default_params()
    params.vocab_only = True
    with Model(vocab_file(name), params) as model:
        yield model.vocab


@functools.cache
def samples() -> tuple[bytes, ...]:
    """Texts for every vocabulary: some have no cases of their own."""
    return tuple(dict.fromkeys(text for name in NAMES_WITH_CASES for text in read_texts(name)))


def test_there_are_vocabularies_and_cases() -> None:
    assert len(NAMES) >= 19
    assert len(NAMES_WITH_CASES) >= 15
    assert sum(len(read_texts(name)) for name in NAMES_WITH_CASES) >= 694
    assert all(len(read_texts(name)) >= 46 for name in NAMES_WITH_CASES)
    assert len(samples()) >= 46
    assert set(LOSSY) < set(NAMES)


def test_upstreams_cases(name: str, vocab: Vocab) -> None:
    # Four files come without cases; the test of the floors above says how many may.
    texts = read_texts(name) if name in NAMES_WITH_CASES else []
    expected = read_ids(name) if name in NAMES_WITH_CASES else []
    found = [vocab.tokenize(text, add_special=False, parse_special=False) for text in texts]
    assert len(found) == len(expected)
    failed = [(text, ids) for text, ids, want in zip(texts, found, expected, strict=True)
              if ids != want]  # fmt: skip
    assert failed == []


def test_str_and_bytes_are_the_same(vocab: Vocab) -> None:
    for text in samples():
        assert vocab.tokenize(text.decode(), add_special=False) == vocab.tokenize(
            text, add_special=False
        )


def test_special_tokens_are_added_around_the_same_ids(vocab: Vocab) -> None:
    word_piece = vocab.type == raw.LLAMA_VOCAB_TYPE_WPM
    before = [vocab.bos] if vocab.add_bos or word_piece else []
    after = [vocab.sep] if word_piece else [vocab.eos] if vocab.add_eos else []
    for text in samples():
        bare = vocab.tokenize(text, add_special=False)
        assert vocab.tokenize(text, add_special=True) == [*before, *bare, *after]


def round_trip(vocab: Vocab, text: bytes) -> bytes:
    return vocab.detokenize(vocab.tokenize(text, add_special=False))


def test_which_vocabularies_give_a_text_back(name: str, vocab: Vocab) -> None:
    changed = [text for text in samples() if round_trip(vocab, text) != text]
    assert bool(changed) == (name in LOSSY)
    if LOSSY.get(name) == CLEANS:
        for text in changed:
            assert round_trip(vocab, text).replace(b" ", b"") == text.replace(b" ", b"")
    else:
        assert (vocab.type in NORMALIZING) == (name in LOSSY)


def test_unicode_comes_back(name: str, vocab: Vocab) -> None:
    # U+2581 stands for the space in SentencePiece vocabularies; ASCII is in the texts above.
    codes = [code for code in range(0x80, 0x20000) if not 0xD800 <= code < 0xE000]
    codes.remove(0x2581)
    texts = ["".join(map(chr, codes[start : start + 512])) for start in range(0, len(codes), 512)]
    assert len(texts) > 200
    changed = [text for text in texts if round_trip(vocab, text.encode()) != text.encode()]
    if vocab.type in NORMALIZING:
        assert changed
    else:
        assert changed == []


def test_pieces_of_all_ids_join_to_the_text(name: str, vocab: Vocab) -> None:
    pieces = [vocab.token_to_piece(token) for token in range(vocab.n_tokens)]
    special = {
        token for token, piece in enumerate(pieces) if not piece and is_special(vocab, token)
    }
    assert special
    shown = {token: vocab.token_to_piece(token, special=True) for token in special}
    assert shown == {token: vocab.text(token) for token in special}
    same = without_spaces if name in LOSSY else bytes
    assert same(b"".join(pieces)) == same(vocab.detokenize(range(vocab.n_tokens)))
    with_special = [shown.get(token, piece) for token, piece in enumerate(pieces)]
    everything = vocab.detokenize(range(vocab.n_tokens), unparse_special=True)
    assert same(b"".join(with_special)) == same(everything)
    check_lstrip(vocab, max(range(vocab.n_tokens), key=lambda token: spaces_before(pieces[token])))


def check_lstrip(vocab: Vocab, token: int) -> None:
    piece = vocab.token_to_piece(token)
    leading = spaces_before(piece)
    assert leading >= 1
    for lstrip in (0, 1, leading, leading + 1):
        expected = piece[min(lstrip, leading) :]
        assert vocab.token_to_piece(token, lstrip=lstrip) == expected


def spaces_before(piece: bytes) -> int:
    return len(piece) - len(piece.lstrip(b" "))


def is_special(vocab: Vocab, token: int) -> bool:
    return bool(vocab.attr(token) & SPECIAL)


def without_spaces(text: bytes) -> bytes:
    return text.replace(b" ", b"")


def test_pieces_of_a_text_join_to_it(name: str, vocab: Vocab) -> None:
    for text in samples():
        ids = vocab.tokenize(text, add_special=False)
        joined = b"".join(vocab.token_to_piece(token) for token in ids)
        whole = vocab.detokenize(ids)
        if name in LOSSY:
            assert without_spaces(joined) == without_spaces(whole)
        elif vocab.type == raw.LLAMA_VOCAB_TYPE_SPM and ids:
            # SentencePiece puts a space in front of a text, which detokenize takes away again.
            assert joined == b" " + whole
        else:
            assert joined == whole


def test_special_tokens_render_only_on_request(vocab: Vocab) -> None:
    named = {token for token in (vocab.bos, vocab.eos, vocab.eot, vocab.sep) if token >= 0}
    special = [token for token in named if is_special(vocab, token)]
    assert special
    for token in special:
        text = vocab.text(token)
        assert text
        assert vocab.token_to_piece(token) == vocab.detokenize([token]) == b""
        assert vocab.token_to_piece(token, special=True) == text
        assert vocab.detokenize([token], unparse_special=True) == text
        assert vocab.tokenize(text, add_special=False, parse_special=True) == [token]
        assert vocab.tokenize(text, add_special=False, parse_special=False) != [token]


def test_remove_special_drops_bos_and_eos(vocab: Vocab) -> None:
    text = b" Hello world"
    bare = vocab.tokenize(text, add_special=False)
    ids = vocab.tokenize(text, add_special=True)
    plain = vocab.detokenize(bare).strip()
    # To the engine, the separator at the end of a WordPiece text is not one that was added.
    kept = vocab.text(vocab.sep) if vocab.type == raw.LLAMA_VOCAB_TYPE_WPM else b""
    removed = vocab.detokenize(ids, remove_special=True, unparse_special=True)
    assert removed.strip() == plain + kept
    shown = vocab.detokenize(ids, unparse_special=True)
    assert (shown.strip() == plain) == (ids == bare)


@pytest.mark.parametrize("distance", [0, 1, 2**31, 2**40])
def test_ids_outside_of_the_vocabulary_are_refused(vocab: Vocab, distance: int) -> None:
    readers: list[Any] = [
        vocab.token_to_piece, vocab.text, vocab.score, vocab.attr, vocab.is_eog, vocab.is_control,
    ]  # fmt: skip
    for bad in (vocab.n_tokens + distance, -1 - distance):
        for read in readers:
            with pytest.raises(TokenError):
                read(bad)
        with pytest.raises(TokenError):
            vocab.detokenize([0, bad])
    vocab.token_to_piece(vocab.n_tokens - 1)
