"""What scripts pass to raw functions in place of the pointers that the headers declare."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from llama_cpp.native.bind import Function

# Any: scripts pass what the declarations of today do not allow.
raw: Any = importlib.import_module("llama_cpp.llama_cpp")

N_CTX = 256


@pytest.fixture
def ctx(model: Any) -> Iterator[Any]:
    params = raw.llama_context_default_params()
    params.n_ctx = N_CTX
    context = raw.llama_init_from_model(model, params)
    yield context
    raw.llama_free(context)


def test_tutorials_pass_the_model_for_the_vocabulary(model: Any) -> None:
    vocab = raw.llama_model_get_vocab(model)
    text, tokens = b"Hello world", [(raw.llama_token * 32)() for _ in range(2)]
    counts = [
        raw.llama_tokenize(each, text, len(text), out, 32, True, False)
        for each, out in zip((model, vocab), tokens, strict=True)
    ]
    assert counts[0] == counts[1] > 1
    assert list(tokens[0]) == list(tokens[1])
    assert raw.llama_n_vocab(model) == raw.llama_vocab_n_tokens(vocab)
    assert raw.llama_token_eos(model) == raw.llama_vocab_eos(vocab) >= 0
    piece = ctypes.create_string_buffer(32)
    text_back = b""
    for token in tokens[0][1 : counts[0]]:
        length = raw.llama_token_to_piece(model, token, piece, len(piece), 0, False)
        text_back += piece.raw[:length]
    assert text_back.strip() == text


def test_backend_init_takes_the_old_numa_argument() -> None:
    assert raw.llama_backend_init(False) is None
    raw.llama_backend_init()


def test_plain_addresses_are_accepted(ctx: Any, model: Any) -> None:
    for address in (int(ctx), ctypes.c_void_p(ctx)):
        assert raw.llama_n_ctx(address) == N_CTX
    assert raw.llama_model_n_embd(int(model)) == raw.llama_model_n_embd(model) == 256
    vocab = int(raw.llama_model_get_vocab(model))
    assert raw.llama_vocab_n_tokens(vocab) == raw.llama_n_vocab(model)


def test_wrong_kinds_and_null_are_refused(ctx: Any, model: Any) -> None:
    for wrong in (model, None, 0, "ctx", 1.5):
        with pytest.raises(TypeError, match=r"llama_n_ctx: argument 1.*expected a llama_context_p"):
            raw.llama_n_ctx(wrong)
    with pytest.raises(TypeError, match="is a llama_context_p, expected a llama_vocab_p"):
        raw.llama_n_vocab(ctx)


def test_library_functions_are_real_c_function_pointers(model: Any) -> None:
    function = raw._lib.llama_tokenize
    assert isinstance(function, Function)
    address = ctypes.cast(function, ctypes.c_void_p).value
    untyped = ctypes.CDLL(raw._lib._name).llama_tokenize
    assert address == ctypes.cast(untyped, ctypes.c_void_p).value
    assert address == ctypes.cast(raw.llama_tokenize, ctypes.c_void_p).value

    # What a native grammar library does with it: call the address with the vocabulary's address.
    native = ctypes.CFUNCTYPE(
        ctypes.c_int32,
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p),
        *(ctypes.c_int32, ctypes.c_bool, ctypes.c_bool),
    )(address or 0)
    tokens = (ctypes.c_int32 * 16)()
    count = native(int(raw.llama_model_get_vocab(model)), b"Hello", 5, tokens, 16, True, False)
    expected = (raw.llama_token * 16)()
    assert raw.llama_tokenize(model, b"Hello", 5, expected, 16, True, False) == count
    assert list(tokens) == list(expected)
