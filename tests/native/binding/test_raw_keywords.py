"""Raw functions take the header's names as keywords, and show them."""

from __future__ import annotations

import ast
import ctypes
import importlib
import inspect
import pydoc
from pathlib import Path
from typing import Any

import pytest
from zoo import Zoo

import llama_cpp
from llama_cpp.errors import SymbolMissingError
from llama_cpp.native.bind import Function, parse_parameters

GENERATED = Path(llama_cpp.native.__path__[0]) / "generated"
BACKENDS = importlib.import_module("llama_cpp.native.generated.backends").SIGNATURES
TABLES = ("backends", "bridge", "ggml", "llama", "mtmd")


@pytest.mark.parametrize("table", TABLES)
def test_names_are_those_that_type_checkers_see(table: str) -> None:
    signatures = importlib.import_module(f"llama_cpp.native.generated.{table}").SIGNATURES
    stub = ast.parse((GENERATED / f"{table}.pyi").read_text())
    functions = [each for each in stub.body if isinstance(each, ast.FunctionDef)]
    assert functions
    for function in functions:
        names = [argument.arg for argument in function.args.args]
        _, argtypes, prototype = signatures[function.name]
        assert [name for _, name in parse_parameters(prototype)] == names
        assert len(names) == len(argtypes)


def test_a_model_is_loaded_by_names(zoo: Zoo) -> None:
    params = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(path_model=str(zoo.llama).encode(), params=params)
    assert model is not None
    vocab = llama_cpp.llama_model_get_vocab(model=model)
    assert vocab is not None
    assert llama_cpp.llama_vocab_n_tokens(vocab=vocab) > 0
    assert llama_cpp.llama_vocab_is_eog(vocab, token=0) in (True, False)
    assert llama_cpp.llama_vocab_n_tokens(vocab=model) > 0  # converted like a positional one
    llama_cpp.llama_model_free(model=model)


@pytest.mark.parametrize(
    ("arguments", "named", "what"),
    [
        ((), {"contekst": 1, "batch": 2}, "the argument 'contekst' is unknown"),
        ((1,), {"ctx": 1, "batch": 2}, "the argument 'ctx' is given twice"),
        ((), {"batch": 2}, "ctx is missing"),
    ],
)
def test_a_wrong_name_is_refused(
    arguments: tuple[Any, ...], named: dict[str, Any], what: str
) -> None:
    decode: Any = llama_cpp.llama_decode
    with pytest.raises(TypeError, match=f"llama_decode: {what}.*int32_t llama_decode"):
        decode(*arguments, **named)


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("llama_decode", "(ctx: 'llama_context_p', batch: 'llama_batch') -> 'int'"),
        ("llama_free", "(ctx: 'llama_context_p | None') -> 'None'"),
        ("llama_model_get_vocab", "(model: 'llama_model_p') -> 'llama_vocab_p | None'"),
        ("llama_log_set", "(log_callback: 'ggml_log_callback', user_data: 'Any') -> 'None'"),
        ("llama_vocab_get_text", "(vocab: 'llama_vocab_p', token: 'int') -> 'bytes | None'"),
        ("llama_backend_init", "() -> 'None'"),
        ("ggml_abort", "(file: 'bytes | None', line: 'int', fmt: 'bytes | None', *arguments)"),
        ("llama_kv_self_clear", "(ctx: 'Any') -> 'None'"),
    ],
)
def test_signatures_show_names_and_types(name: str, signature: str) -> None:
    assert str(inspect.signature(getattr(llama_cpp, name))).startswith(signature)


def test_every_function_has_a_signature() -> None:
    for name in llama_cpp.llama_cpp.__all__:
        value = getattr(llama_cpp, name)
        if isinstance(value, Function):
            assert tuple(inspect.signature(value).parameters)[: len(value.argtypes)] == (
                value.parameters
            )


def test_help_shows_the_names() -> None:
    text = pydoc.render_doc(llama_cpp.llama_decode, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    assert "llama_decode = <native function llama_decode(ctx, batch)>" in text
    assert "int32_t llama_decode(struct llama_context * ctx, struct llama_batch batch)" in text


def test_keywords_of_python_get_an_underscore() -> None:
    prototype = "void f(const struct a * from, int lambda, float shape[3], const char *const * x)"
    assert parse_parameters(prototype) == [
        ("const struct a *", "from_"),
        ("int", "lambda_"),
        ("float", "shape"),
        ("const char *const *", "x"),
    ]
    assert parse_parameters("void g(void)") == parse_parameters("int h(...)") == []


def test_a_function_that_the_build_lacks_takes_names_too() -> None:
    missing = {name for name in BACKENDS if not isinstance(getattr(llama_cpp, name), Function)}
    assert missing
    for name in missing:
        with pytest.raises(SymbolMissingError, match=name):
            getattr(llama_cpp, name)(device=0)


def test_what_a_script_casts_has_no_names() -> None:
    known: Any = llama_cpp.llama_max_devices
    address = ctypes.cast(known, ctypes.c_void_p)
    function = ctypes.cast(address, Function)
    assert repr(function) == "<native function of no library()>"
    assert str(inspect.signature(function)) == "(*arguments) -> 'int'"
    assert function() == llama_cpp.llama_max_devices()
