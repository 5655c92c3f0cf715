"""The error tree: what callers catch, and what errors carry."""

from __future__ import annotations

import pickle

import pytest

from llama_cpp import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]

# What scripts written for llama-cpp-python catch.
BUILTINS = {
    errors.LibraryNotFoundError: (RuntimeError, OSError),
    errors.SymbolMissingError: (RuntimeError, NotImplementedError),
    errors.InvalidArgumentError: (ValueError,),
    errors.TokenError: (ValueError,),
    errors.ContextWindowError: (ValueError,),
    errors.MediaError: (ValueError,),
    errors.EngineAssertionError: (RuntimeError,),
    errors.ForkError: (RuntimeError,),
    errors.PointerTypeError: (TypeError,),
    errors.ClosedError: (ValueError, RuntimeError),
    errors.ModelLoadError: (ValueError, RuntimeError),
    errors.ModelNotFoundError: (ValueError, FileNotFoundError),
    errors.ModelIsDirectoryError: (ValueError, IsADirectoryError),
    errors.ModelPermissionError: (ValueError, PermissionError),
    errors.OutOfMemoryError: (ValueError, MemoryError),
    errors.ContextError: (ValueError, RuntimeError),
    errors.GrammarError: (ValueError,),
    errors.ChatTemplateError: (ValueError,),
    errors.ChatParseError: (ValueError,),
    errors.ReplyValidationError: (ValueError,),
    errors.StateError: (ValueError, RuntimeError),
    errors.DecodeError: (RuntimeError,),
}


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_a_llama_error_and_a_builtin(error: type[errors.LlamaError]) -> None:
    assert issubclass(error, errors.LlamaError)
    builtins = [base for base in error.__mro__ if base.__module__ == "builtins"]
    if error is not errors.LlamaError:
        assert set(builtins) - {Exception, BaseException, object}


@pytest.mark.parametrize("error", BUILTINS)
def test_builtins_that_callers_catch(error: type[errors.LlamaError]) -> None:
    for builtin in BUILTINS[error]:
        with pytest.raises(builtin):
            raise error("wrong")


@pytest.mark.parametrize("error", CLASSES)
def test_the_native_log_is_part_of_the_text(error: type[errors.LlamaError]) -> None:
    raised = error("what was wrong", ["first line", "second line"])
    assert str(raised).splitlines() == [
        "what was wrong",
        "  native log: first line",
        "  native log: second line",
    ]
    assert str(error("alone")) == "alone"


@pytest.mark.parametrize("error", CLASSES)
def test_errors_can_be_pickled(error: type[errors.LlamaError]) -> None:
    copy = pickle.loads(pickle.dumps(error("text", ["line"])))
    assert type(copy) is error
    assert (copy.message, copy.native_log) == ("text", ("line",))


def test_a_decode_error_keeps_its_code() -> None:
    error = errors.NoKVSlotError("full", ["line"], 1)
    assert error.code == 1
    assert pickle.loads(pickle.dumps(error)).code == 1


def test_a_prompt_that_is_too_long_is_a_wrong_argument() -> None:
    assert issubclass(errors.ContextWindowError, errors.InvalidArgumentError)
    assert not issubclass(errors.ContextWindowError, errors.DecodeError | errors.ContextError)


def test_the_tree_in_the_docstring_is_complete() -> None:
    assert errors.__doc__ is not None
    assert [name for name in errors.__all__ if name not in errors.__doc__] == []


def test_what_is_wrong_with_a_reply_crosses_processes() -> None:
    error = errors.ReplyValidationError("wrong", text="{}", field="a.b", reason="it is missing")
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.text, copied.field, copied.reason) == ("{}", "a.b", "it is missing")
    assert str(copied) == "wrong"
