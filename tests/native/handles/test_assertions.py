"""Assertions of the engine: exceptions where that is possible, last words where it is not."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from handles_kit import batch_of, decode, open_context
from isolated import QUIET_ABORT, Cases, Files, Outcomes

from llama_cpp import llama_cpp as raw
from llama_cpp import mtmd_cpp
from llama_cpp.errors import ClosedError, EngineAssertionError, LlamaError
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model
from llama_cpp.llama import Llama
from llama_cpp.models import tinychat
from llama_cpp.native import assertions
from llama_cpp.native.assertions import guarded
from llama_cpp.native.backend import failed

cases = Cases(__file__)


def fail_in(context: Context) -> EngineAssertionError:
    """Decode what the engine asserts on, past the checks."""
    raw.llama_set_causal_attn(context.pointer, False)
    batch = batch_of([5] * (context.n_ubatch + 1))
    pointer = context.acquire()
    try:
        with pytest.raises(EngineAssertionError) as caught:
            context.guarded(raw.llama_decode, pointer, batch.struct)
    finally:
        context.release()
    return caught.value


def failing_context(model: Model) -> Context:
    return open_context(model, n_batch=64, n_ubatch=16)


@cases.add
def an_assertion_is_an_exception(files: Files) -> None:
    error = fail_in(failing_context(files.model))
    assert error.file == "src/llama-context.cpp"
    assert error.line > 0
    assert error.assertion.startswith("GGML_ASSERT(")
    assert isinstance(error, RuntimeError)


@cases.add
def what_was_in_use_is_closed_and_says_why(files: Files) -> None:
    context = failing_context(files.model)
    fail_in(context)
    assert context.closed
    with pytest.raises(ClosedError, match="the engine failed in it"):
        context.decode(batch_of())
    context.close()


@cases.add
def the_rest_of_the_process_goes_on(files: Files) -> None:
    model = Model(files.llama)
    other = open_context(model)
    expected = decode(other)
    fail_in(failing_context(model))
    other.memory.clear()
    assert (decode(other) == expected).all()
    assert (decode(open_context(model)) == expected).all()
    model.close()
    assert other.closed


@cases.add
def an_exception_of_cpp_is_one_too(files: Files) -> None:
    piece = ctypes.create_string_buffer(8)
    with pytest.raises(EngineAssertionError, match="^an exception came out") as caught:
        guarded(raw.llama_token_to_piece)(files.model.vocab.pointer, 10**6, piece, 8, 0, True)
    assert (caught.value.file, caught.value.line) == ("", 0)


@cases.add
def every_function_has_its_guard(files: Files) -> None:
    names = (
        "llama_model_load_from_file llama_init_from_model llama_adapter_lora_init llama_decode "
        "llama_encode llama_tokenize llama_detokenize llama_token_to_piece llama_state_get_size "
        "llama_state_get_data llama_state_set_data llama_state_save_file llama_state_load_file "
        "llama_state_seq_get_size_ext llama_state_seq_get_data_ext llama_state_seq_set_data_ext"
    )
    for name in names.split():
        assert guarded(getattr(raw, name)).__name__ == name
    for name in ("init_from_file", "tokenize_from_parts", "encode_chunk"):
        assert guarded(getattr(mtmd_cpp, f"mtmd_{name}")).argtypes
    with pytest.raises(LlamaError, match="llama_model_desc has no entry"):
        guarded(raw.llama_model_desc)


@cases.add
def a_model_in_which_it_happened_is_closed_for_everybody(files: Files) -> None:
    real, count = guarded(raw.llama_decode), itertools.count()

    def decode(*arguments: Any) -> Any:
        if next(count) > 4:
            raise failed("/somewhere/llama.cpp/src/a.cpp:12: GGML_ASSERT(x) failed")
        return real(*arguments)

    def complete() -> None:
        llm("Hello", max_tokens=200, ignore_eos=True)

    with Llama(tinychat(), n_parallel=2, verbose=False) as llm, ThreadPoolExecutor(2) as threads:
        assertions._guards["llama_decode"] = decode
        both = [threads.submit(complete) for _ in range(2)]
        kinds = {type(each.exception(60)) for each in both}
        assertions._guards["llama_decode"] = real
        assert EngineAssertionError in kinds
        assert kinds <= {EngineAssertionError, ClosedError}
        with pytest.raises(ClosedError):
            complete()


@pytest.mark.parametrize("name", cases.names)
def test_assertions(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""


def test_the_log_gets_the_last_words_of_the_process(tmp_path: Path) -> None:
    code = """
import logging, sys, threading
logging.basicConfig(filename=sys.argv[2])
from llama_cpp import llama_cpp as raw
from llama_cpp.handles import Model

def in_a_thread_of_mine():
    raw.ggml_abort(b"some.cpp", 12, b"it does not hold")

model = Model(sys.argv[1])
thread = threading.Thread(target=in_a_thread_of_mine)
thread.start()
thread.join()
"""
    log = tmp_path / "log"
    command: list[Any] = [sys.executable, "-c", code, tinychat(), log]
    finished = subprocess.run(command, env={**os.environ, **QUIET_ABORT}, capture_output=True)
    assert finished.returncode == -signal.SIGABRT
    assert finished.stderr == b"some.cpp:12: it does not hold\n"
    text = log.read_text(encoding="utf-8")
    assert "CRITICAL:llama_cpp:the engine ends the process: some.cpp:12: it does not hold" in text
    assert "in in_a_thread_of_mine" in text
