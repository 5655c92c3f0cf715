"""Raw functions take the header's names as keywords, and show them."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
from zoo import Zoo

import llama_cpp
from llama_cpp.native.bind import parse_parameters

GENERATED = Path(llama_cpp.native.__path__[0]) / "generated"
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


def test_signatures_show_the_names() -> None:
    assert list(inspect.signature(llama_cpp.llama_decode).parameters) == ["ctx", "batch"]
    assert list(inspect.signature(llama_cpp.llama_backend_init).parameters) == []
    assert list(inspect.signature(llama_cpp.llama_kv_self_clear).parameters) == ["ctx"]
